"""Arguments of public functions, compared with their annotations: one sentence instead of a TypeError deep inside.

What texts, rows and settings are is checked where they are read; here it is about everything beside them: a list where
a name belongs, a text where a number does.
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, ParamSpec, TypeVar, Union

import numpy as np
import torch

from textcl.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")

_Check = tuple[str, Callable[[object], bool]]
"""Description of an expected value, and the check for it."""

_KINDS: Mapping[object, _Check] = {
    str: ("a text", lambda value: isinstance(value, str)),
    Path: ("a path", lambda value: isinstance(value, Path)),
    bool: ("True or False", lambda value: isinstance(value, bool | np.bool_)),
    int: (
        "a whole number",
        lambda value: not isinstance(value, bool) and isinstance(value, numbers.Integral),
    ),
    float: (
        "a number",
        lambda value: (
            not isinstance(value, bool)
            and isinstance(value, numbers.Real)
            and not math.isnan(value)
        ),
    ),
    torch.device: ("a device", lambda value: isinstance(value, torch.device)),
    type(None): ("None", lambda value: value is None),
    Mapping: ("a dict", lambda value: isinstance(value, Mapping)),
    Callable: ("a function", lambda value: callable(value) and not isinstance(value, type)),
    dict: ("a dict", lambda value: isinstance(value, dict)),
    Sequence: (
        "a list",
        lambda value: (
            (isinstance(value, np.ndarray) and value.ndim > 0)
            or (isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray))
        ),
    ),
}
_PLURALS: Mapping[object, str] = {str: "texts", float: "numbers"}


def checked_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """The function, with its arguments compared with their annotations before it is called.

    Texts, paths, numbers, booleans, names out of a few, dicts, lists, and textcl's own classes are checked; what is
    annotated as anything else goes through. Numpy's numbers are numbers.

    Raises:
        UserError: When called with something else, by the wrapped function.
    """
    signature = inspect.signature(function)
    called = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]

    @functools.cache
    def checks() -> dict[str, _Check]:
        by_name = {name: _check_of(_hint(function, name)) for name in signature.parameters}
        return {name: check for name, check in by_name.items() if check is not None}

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise UserError(f"{called}: {error}") from None
        for name, (expected, fits) in checks().items():
            if name in given and not fits(given[name]):
                raise UserError(f"{called}: {name} is {expected}, got {_shown(given[name])}")
        return function(*args, **kwargs)

    return call


def _hint(function: Callable[..., object], name: str) -> object:
    """The annotation of an argument; None where it has none, or one that only a type checker can read."""
    written: dict[str, object] = {
        key: value for key, value in function.__annotations__.items() if key == name
    }
    place = types.SimpleNamespace(__annotations__=written)
    try:
        names = getattr(inspect.unwrap(function), "__globals__", {})
        return typing.get_type_hints(place, names).get(name)
    except NameError:
        return None


def _check_of(hint: object) -> _Check | None:
    """Description and check of the values of a type; None for types that are not checked."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        checks = [_check_of(part) for part in parts]
        known = [check for check in checks if check is not None]
        if len(known) < len(checks):
            return None
        names = list(dict.fromkeys(name for name, _ in known))
        names = [name for name in names if name != "None"]
        names_path = Path in parts
        return (
            _listed(names),
            lambda value: (
                any(fits(value) for _, fits in known) and not (names_path and _names_nothing(value))
            ),
        )
    if origin is Literal:
        return _listed([repr(part) for part in parts]), lambda value: any(
            isinstance(value, type(part)) and value == part for part in parts
        )
    if origin is Sequence and parts and parts[0] in _PLURALS:
        return _list_of(parts[0])
    if hint is None or (origin or hint) in _KINDS:
        return _KINDS.get(origin or hint)
    if not isinstance(hint, type) or hint.__module__.partition(".")[0] not in ("textcl", "rich"):
        return None
    if getattr(hint, "_is_protocol", False):
        return _acting_as(hint)
    return hint.__name__, lambda value: isinstance(value, hint)


def _acting_as(protocol: type) -> _Check:
    """Whether a value has the methods of a protocol: a text has an `encode`, too, and is no model."""
    members = [name for name in dir(protocol) if name[0] != "_"]
    methods = [name for name in members if callable(getattr(protocol, name, None))]

    def fits(value: object) -> bool:
        return not isinstance(value, str | type) and all(hasattr(value, name) for name in methods)

    return f"an object with {', '.join(methods) or 'other attributes'}", fits


def _names_nothing(value: object) -> bool:
    """Whether a path holds what no file system takes in a name."""
    try:
        return isinstance(value, str | Path) and b"\0" in os.fsencode(value)
    except UnicodeEncodeError:
        return True


def _list_of(kind: object) -> _Check:
    (_, is_list), (_, is_one) = _KINDS[Sequence], _KINDS[kind]

    def fits(value: object) -> bool:
        return is_list(value) and all(map(is_one, typing.cast("Iterable[object]", value)))

    return f"a list of {_PLURALS[kind]}", fits


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def _shown(value: object) -> str:
    kind = type(value).__name__
    if hasattr(value, "shape") or isinstance(value, type):
        return f"a {kind}"
    return f"{value!r:.60}" if len(repr(value)) < 200 else f"a {kind}"
