"""Domains of settings: which values one takes, declared in its annotation, for checks, parsing, docs and completion.

prior: Annotated[float, Domain(at_least=0, below=1)] = 0.01
"""

from __future__ import annotations

import math
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from typing import Annotated, Literal, TypeVar

import numpy as np

from textcl.contrast.temperature import LOWEST_LEARNED
from textcl.contrast.temperature_setting import as_temperature
from textcl.encoder.adapter import AdapterSpec
from textcl.encoder.pooling import POOLINGS, check_pooling
from textcl.errors import UserError

P = TypeVar("P")

LARGEST = 2**31 - 1
"""No setting takes a larger whole number."""


@dataclass(frozen=True)
class Domain:
    """The numbers that a setting takes: finite, and between two bounds where these are given.

    Args:
        at_least: Lowest number.
        above: Number that is too low, as everything below it.
        at_most: Highest number.
        below: Number that is too high, as everything above it.
        hint: What to do about a number outside, such as "did you mean warmup_steps?".
    """

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    hint: str = ""

    def __contains__(self, number: float) -> bool:
        """Whether the number is one of them."""
        return (
            -math.inf < number < math.inf
            and (self.at_least is None or number >= self.at_least)
            and (self.above is None or number > self.above)
            and (self.at_most is None or number <= self.at_most)
            and (self.below is None or number < self.below)
        )

    def __str__(self) -> str:
        """The bounds in words; empty where there are none."""
        bounds = {
            "at least": self.at_least,
            "above": self.above,
            "at most": self.at_most,
            "below": self.below,
        }
        words = " and ".join(
            f"{word} {bound}" for word, bound in bounds.items() if bound is not None
        )
        return f"of {words}" if words.startswith("at") else words


@dataclass(frozen=True)
class Text:
    """The texts that a setting takes.

    Args:
        expected: What they are, in words.
        check: Raises a `ValueError` or `UserError` for every other text.
    """

    expected: str
    check: Callable[[str], object]


class NotEmpty:
    """Marks a list of settings that holds one value at least."""


def _check_model(text: str) -> None:
    if not text.strip():
        raise ValueError("empty")


ModelName = Annotated[str, Text("the name or folder of a model", _check_model)]
"""A model to load."""

AdapterSetting = Annotated[
    str, Text("lora, rslora or dora with a rank, such as lora:16", AdapterSpec.parse)
]
"""An adapter that learns in place of the weights."""

PoolingSetting = Annotated[
    str, Text(f"one of {', '.join(POOLINGS)}, or several joined by +", check_pooling)
]
"""The way from token states to one vector."""

TemperatureSetting = Annotated[
    float | str,
    Domain(above=0),
    Text(
        f"learnable:0.05 (from {LOWEST_LEARNED} on), or a schedule such as cosine:0.1:0.05",
        as_temperature,
    ),
]
"""A number, or what `as_temperature` reads."""


@dataclass(frozen=True)
class Values:
    """The values of one setting.

    Args:
        kinds: Types, of `bool`, `int`, `float` and `str`.
        choices: The only texts, where there are but a few.
        domain: The numbers.
        text: The texts, where not every one will do.
        optional: None is one of them.
        several: A tuple of them is the value, and not one.
        not_empty: The tuple holds one at least.
    """

    kinds: frozenset[type] = frozenset()
    choices: tuple[str, ...] = ()
    domain: Domain = field(default_factory=Domain)
    text: Text | None = None
    optional: bool = False
    several: bool = False
    not_empty: bool = False

    @classmethod
    def of(cls, hint: object) -> Values:
        """The values of an annotation.

        Raises:
            TypeError: If settings of this kind are not supported.
        """
        origin, options = typing.get_origin(hint), typing.get_args(hint)
        if hint is type(None):
            return cls(optional=True)
        if isinstance(hint, type) and hint in (bool, int, float, str):
            return cls(frozenset({hint}))
        if origin is Literal:
            return cls(choices=options)
        if origin is Annotated:
            return _annotated(cls.of(options[0]), options[1:])
        if origin in (types.UnionType, typing.Union):
            return _either([cls.of(option) for option in options])
        if origin is tuple and options[1:] == (...,):
            return replace(cls.of(options[0]), several=True)
        raise TypeError(f"a setting cannot be of type {hint}")

    def __str__(self) -> str:
        """The values in words."""
        parts = [f"one of {', '.join(self.choices)}"] if self.choices else []
        if bool in self.kinds:
            parts.append("true or false")
        if self.kinds & {int, float}:
            number = "a number" if float in self.kinds else "a whole number"
            parts.append(f"{number} {self.domain}".strip())
        if str in self.kinds:
            parts.append(self.text.expected if self.text else "a text")
        words = ", or ".join(parts)
        if self.several:
            words = f"a list{' of one or more, each' if self.not_empty else ', each'} {words}"
        return f"{words}, or none" if self.optional else words

    def check(self, value: object) -> object:
        """The value as its own type, from a value of Python.

        Numbers and arrays of numpy, paths, lists and whole floats become what the setting has.

        Raises:
            ValueError: If it is none of the values.
        """
        value = _plain(value)
        if value is None and self.optional:
            return None
        if self.several:
            parts = value if isinstance(value, list | tuple) else (value,)
            return self._each(self._one.check, typing.cast("Iterable[object]", parts))
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, bool):
            if bool in self.kinds:
                return value
        elif isinstance(value, int | float):
            return self._number(value)
        raise ValueError(value)

    def parse(self, text: str) -> object:
        """The value that a text of the command line stands for; spaces around it count where any text is a value.

        Raises:
            ValueError: If it stands for none.
        """
        any_text = str in self.kinds and self.text is None  # the empty one is a value, too
        text = text if any_text and not self.several else text.strip()
        if self.optional and (text.strip().lower() == "none" or (not text and not any_text)):
            return None
        if self.several:
            return self._each(self._one.parse, filter(None, map(str.strip, text.split(","))))
        if bool in self.kinds:
            return self.check({"true": True, "false": False}.get(text.lower(), text))
        for kind in (int, float):
            if kind in self.kinds and (number := _read(kind, text)) is not None:
                return self.check(number)
        return self.check(text)

    @property
    def _one(self) -> Values:
        return replace(self, several=False, optional=False)

    def _each(self, read: Callable[[P], object], parts: Iterable[P]) -> tuple[object, ...]:
        values = tuple(read(part) for part in parts)
        if self.not_empty and not values:
            raise ValueError(values)
        return values

    def _text(self, text: str) -> object:
        if text in self.choices:
            return text
        if str in self.kinds:
            if float in self.kinds and (number := _read(float, text)) is not None:
                return self._number(number)
            if self.text:
                try:
                    self.text.check(text)
                except UserError:
                    raise ValueError(text) from None
            return text
        raise ValueError(text)

    def _number(self, number: float) -> float:
        if not self.kinds & {int, float} or number not in self.domain:
            raise ValueError(number)
        if float not in self.kinds and abs(number) > LARGEST and self.domain.at_most is None:
            raise ValueError(number)
        if float in self.kinds and abs(number) <= sys.float_info.max:
            return float(number)
        if number != int(number):
            raise ValueError(number)
        return int(number)


@cache
def values_of(settings_type: type) -> dict[str, Values]:
    """The values of each setting, by its name; a recipe that gives one another default leaves them as they are."""
    inherited: dict[str, Values] = {}
    for base in reversed(settings_type.__bases__):
        if is_dataclass(base):
            inherited |= values_of(base)
    hints = typing.get_type_hints(settings_type, include_extras=True)
    own = {known.name: Values.of(hints[known.name]) for known in fields(settings_type)}
    return {name: _inherited(values, inherited.get(name)) for name, values in own.items()}


def _inherited(values: Values, parent: Values | None) -> Values:
    return parent if parent and values == replace(parent, domain=Domain(), text=None) else values


def _annotated(values: Values, notes: Iterable[object]) -> Values:
    for note in notes:
        if isinstance(note, Domain):
            values = replace(values, domain=note)
        elif isinstance(note, Text):
            values = replace(values, text=note)
        elif isinstance(note, NotEmpty):
            values = replace(values, not_empty=True)
    return values


def _either(options: list[Values]) -> Values:
    domains = [option.domain for option in options if option.domain != Domain()]
    return Values(
        frozenset().union(*(option.kinds for option in options)),
        tuple(choice for option in options for choice in option.choices),
        domains[0] if domains else Domain(),
        next((option.text for option in options if option.text), None),
        any(option.optional for option in options),
        any(option.several for option in options),
    )


def _plain(value: object) -> object:
    """Values of numpy and paths as values of Python."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(typing.cast("os.PathLike[str]", value))
    return value


def _read(kind: type[int | float], text: str) -> float | None:
    try:
        return kind(text)
    except ValueError:
        return None
