"""JSON that is read with every value checked: what is missing or of another type is named by file and key.

`read_as` and `decode` make dataclasses of files whose layout is ours; `JsonObject` asks for one key after another,
where a file of another library holds more.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numpy as np
from jaxtyping import Float32

from textcl.errors import UserError

T = TypeVar("T")

JsonDict = dict[str, Any]
"""An object of JSON or TOML as Python has it: what a `to_dict` gives, None for what is undefined."""

_LARGEST = 1 << 28  # bytes; no JSON file of a model or a run is near it
_DAMAGED = "was it cut off or edited by hand? Restore the file"
_NAMES: Mapping[object, str] = {
    str: "a text",
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
}


def read_text(path: Path) -> str:
    """A file as UTF-8.

    Raises:
        UserError: If it is missing, cannot be read, or holds something else than text.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise UserError(f"{path} is too large for a JSON file of a model or a run")
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}, byte {error.start}: expected JSON in UTF-8, found the byte "
            f"0x{error.object[error.start]:02x}; {_DAMAGED}"
        ) from error
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path} is missing") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if text.startswith("version https://git-lfs"):
        raise UserError(f"{path} is a git-lfs pointer, not the file itself: run git lfs pull")
    return text


def parse(text: str, place: str) -> object:
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
            f"{place}{line}, column {error.colno}: expected JSON ({error.msg}); {_DAMAGED}"
        ) from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 100,000 brackets
        raise UserError(f"{place}: expected JSON ({error}); {_DAMAGED}") from error


def read_as(path: Path, kind: Callable[..., T]) -> T:
    """The value of a JSON file as a type.

    Args:
        path: The file.
        kind: As for `decode`.

    Raises:
        UserError: If the file cannot be read, is not JSON, or holds something else; names the file and the place.
    """
    return decode(parse(read_text(path), str(path)), kind, str(path))


def decode(value: object, kind: Callable[..., T], place: str) -> T:
    """A value of JSON as a type: a dataclass, a plain type, a union, a Literal, a sequence or a mapping of these.

    Args:
        value: What `json.loads` gave.
        kind: The type. Keys that a dataclass has no field for are left out; fields with a default may be missing.
        place: File and key of the value, for the message.

    Raises:
        UserError: If the value is of another type.
    """
    return cast(T, _decode(value, kind, place))


@dataclass(frozen=True)
class JsonObject:
    """The object of a JSON file, or one inside of it.

    Args:
        values: Its content.
        place: File, and key where it lies inside of another object; the subject of every message.
    """

    values: Mapping[str, object]
    place: str

    @classmethod
    def read(cls, path: Path) -> JsonObject:
        """The object that a file holds.

        Raises:
            UserError: If there is no such file, or it holds anything else.
        """
        return cls.of(parse(read_text(path), str(path)), str(path))

    @classmethod
    def read_if_present(cls, path: Path) -> JsonObject | None:
        """The object that a file holds; None where there is no such file.

        Raises:
            UserError: If it holds anything else.
        """
        return cls.read(path) if path.is_file() else None

    @classmethod
    def of(cls, value: object, place: str) -> JsonObject:
        """A parsed value as an object.

        Raises:
            UserError: If it is something else.
        """
        return cls(decode(value, dict[str, object], place), place)

    def get(self, key: str, kind: Callable[..., T]) -> T | None:
        """The value of a key as a type, see `decode`; None where the key is missing or null.

        Raises:
            UserError: If the value has another type.
        """
        value = self.values.get(key)
        return None if value is None else decode(value, kind, f"{self.place}: {key}")

    def require(self, key: str, kind: Callable[..., T]) -> T:
        """The value of a key that must be there.

        Raises:
            UserError: If the key is missing or null, or its value has another type.
        """
        value = self.get(key, kind)
        if value is None:
            raise _missing(self.place, key)
        return value

    def inner(self, key: str) -> JsonObject:
        """The object that lies under a key.

        Raises:
            UserError: If the key is missing or null, or its value is no object.
        """
        return JsonObject(self.require(key, dict[str, object]), f"{self.place}: {key}")

    def texts(self, key: str) -> dict[str, str]:
        """A value that maps names to texts, null left out; empty where the key is missing or null.

        Raises:
            UserError: If it is something else.
        """
        inner = JsonObject.of(self.values.get(key) or {}, f"{self.place}: {key}")
        given = {name: inner.get(name, str) for name in inner.values}
        return {name: text for name, text in given.items() if text is not None}

    def table(self, key: str, rows: int) -> Float32[np.ndarray, "N D"]:
        """A value that holds rows of finite numbers, all of one length.

        Raises:
            UserError: If it is something else, or has another number of rows.
        """
        place = f"{self.place}: {key}"
        try:
            with np.errstate(over="ignore"):
                table = np.asarray(self.values.get(key), dtype=np.float32)
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{place}: expected rows of numbers ({error}); {_DAMAGED}") from error
        if table.ndim != 2 or len(table) != rows or not np.isfinite(table).all():
            raise UserError(f"{place}: expected {rows} rows of finite numbers; {_DAMAGED}")
        return table


def _decode(value: object, kind: object, place: str) -> object:
    if kind is object or kind is Any:
        return value
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_fields(_object(value, place), kind, place)
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
        items = enumerate(cast(Iterable[object], value))
        decoded = [_decode(item, options[0], f"{place}[{at}]") for at, item in items]
        return decoded if origin is list else tuple(decoded)
    if origin is dict or origin is Mapping:
        items = _object(value, place).items()
        return {key: _decode(item, options[1], f"{place}: {key}") for key, item in items}
    return _decode_plain(value, kind, place)


def _object(value: object, place: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _wrong(place, "an object", value)
    return cast("dict[str, object]", value)


def _decode_fields(value: Mapping[str, object], kind: type, place: str) -> object:
    assert dataclasses.is_dataclass(kind)
    hints, given = typing.get_type_hints(kind), dict[str, object]()
    for field in dataclasses.fields(kind):
        if field.name in value:
            item = value[field.name]
            given[field.name] = _decode(item, hints[field.name], f"{place}: {field.name}")
        elif field.default is field.default_factory is dataclasses.MISSING:
            raise _missing(place, field.name)
    return kind(**given)


def _decode_union(value: object, options: tuple[object, ...], place: str) -> object:
    if value is None and type(None) in options:
        return None
    rest = [option for option in options if option is not type(None)]
    if len(rest) == 1:
        return _decode(value, rest[0], place)
    for option in rest:
        try:
            return _decode(value, option, place)
        except UserError:
            continue
    raise _wrong(place, " or ".join(_NAMES.get(option, "a list") for option in rest), value)


def _decode_plain(value: object, kind: object, place: str) -> object:
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


def _missing(place: str, key: str) -> UserError:
    return UserError(f"{place}: expected the key {key!r}, which is missing; {_DAMAGED}")


def _wrong(place: str, expected: str, value: object) -> UserError:
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    short = text if len(text) <= 60 else f"{text[:57]}..."
    return UserError(f"{place}: expected {expected}, not {short}; {_DAMAGED}")
