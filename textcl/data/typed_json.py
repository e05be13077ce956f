"""JSON files read into dataclasses: every field is checked, and a wrong one is named with its file and place."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from textcl.errors import UserError

T = TypeVar("T")

_EDITED = "was it cut off or edited by hand? Restore the file, or start anew"
_NAMES = {str: "a text", int: "a whole number", float: "a finite number", bool: "true or false"}


def read_as(path: Path, kind: type[T]) -> T:
    """The object in a JSON file as a dataclass.

    Args:
        path: The file.
        kind: A dataclass. Keys that it has no field for are left out; fields with a default may be missing.

    Raises:
        UserError: If the file cannot be read, is not JSON, or holds something else; names the file and the place.
    """
    return decode(parse(read_text(path), str(path)), kind, str(path))


def read_text(path: Path) -> str:
    """A file as UTF-8.

    Raises:
        UserError: If it cannot be read or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}, byte {error.start}: expected JSON in UTF-8, found the byte "
            f"0x{error.object[error.start]:02x}; {_EDITED}"
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def parse(text: str, place: str) -> Any:
    """The value of a JSON text.

    Args:
        text: The text.
        place: File of the text, or file and line of a text of one line, for the message.

    Raises:
        UserError: If it is not JSON.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = f", line {error.lineno}" if "\n" in text else ""
        raise UserError(
            f"{place}{line}, column {error.colno}: expected JSON ({error.msg}); {_EDITED}"
        ) from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 100,000 brackets
        raise UserError(
            f"{place}: expected JSON as textcl writes it ({error}); {_EDITED}"
        ) from error


def decode(value: Any, kind: Any, place: str) -> Any:
    """A value of JSON as a type: a dataclass, a plain type, a union, a Literal, a sequence or a mapping of these.

    Args:
        value: What `json.loads` gave.
        kind: The type.
        place: File and key of the value, for the message.

    Raises:
        UserError: If the value is of another type.
    """
    if kind is Any or kind is object:
        return value
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_fields(value, kind, place)
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _decode_union(value, options, place)
    if origin is Literal:
        if value not in options:
            raise _wrong(place, f"one of {', '.join(map(str, options))}", value)
        return value
    if origin is tuple or origin is list or origin is Sequence:
        if not isinstance(value, list | tuple):
            raise _wrong(place, "a list", value)
        found = [decode(item, options[0], f"{place}[{at}]") for at, item in enumerate(value)]
        return found if origin is list else tuple(found)
    if origin is dict or origin is Mapping:
        if not isinstance(value, dict):
            raise _wrong(place, "an object", value)
        return {key: decode(item, options[1], f"{place}: {key}") for key, item in value.items()}
    return _decode_plain(value, kind, place)


def _decode_fields(value: Any, kind: Any, place: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(place, "an object", value)
    hints, given = typing.get_type_hints(kind), {}
    for field in dataclasses.fields(kind):
        if field.name in value:
            item = value[field.name]
            given[field.name] = decode(item, hints[field.name], f"{place}: {field.name}")
        elif field.default is field.default_factory is dataclasses.MISSING:
            raise UserError(
                f"{place}: expected the key {field.name!r}, which is missing; {_EDITED}"
            )
    return kind(**given)


def _decode_union(value: Any, options: tuple[Any, ...], place: str) -> Any:
    if value is None and type(None) in options:
        return None
    rest = [option for option in options if option is not type(None)]
    if len(rest) == 1:
        return decode(value, rest[0], place)
    for option in rest:
        try:
            return decode(value, option, place)
        except UserError:
            continue
    raise _wrong(place, " or ".join(_NAMES.get(option, "a list") for option in rest), value)


def _decode_plain(value: Any, kind: Any, place: str) -> Any:
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    elif type(value) is kind:  # a bool is no whole number here
        return value
    raise _wrong(place, _NAMES.get(kind, str(kind)), value)


def _wrong(place: str, expected: str, value: Any) -> UserError:
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    short = text if len(text) <= 60 else f"{text[:57]}..."
    return UserError(f"{place}: expected {expected}, not {short}; {_EDITED}")
