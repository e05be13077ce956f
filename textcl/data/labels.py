"""Labels as people write them: one clean name for a class, or several, with what is missing and what was merged."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

import numpy as np

from textcl.data.texts import is_missing, normal_text

_WRITTEN_MISSING = {"", "nan", "NaN", "<NA>", "NaT"}  # as libraries write a missing value into text


class LabelReader:
    """Cleans the labels of one pass, one after the other.

    Texts are stripped and brought to NFC; whole numbers become their digits. Texts and numbers do not mix, because
    1 and "1" would become one class.

    Args:
        several: Whether a row has a list of labels.
        separator: What stands between the names of a list that is written as a text; "" where it is a JSON list.
    """

    def __init__(self, several: bool, separator: str = "") -> None:
        self._several, self._separator = several, separator
        self._kind = ""
        self._written: dict[str, set[str]] = {}

    def __call__(self, value: object) -> object:
        """The name of the class; a list of names where rows have several; None where there is none.

        Raises:
            ValueError: With half a sentence, if the value is no label or its type differs from those before.
        """
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if not self._several:
            return self._name(value)
        if isinstance(value, str):
            value = _listed(value, self._separator)
        if isinstance(value, set | frozenset):
            value = sorted(value, key=str)
        if not isinstance(value, list | tuple):
            name = self._name(value)
            return None if name is None else [name]
        names = [self._name(each) for each in value]
        if None in names:
            raise ValueError(f"expected class names, got a list with a missing one, {shown(value)}")
        return list(dict.fromkeys(names))

    @property
    def merged(self) -> list[str]:
        """Labels that were written in several ways and are one class now."""
        ways = sorted((name, sorted(forms)) for name, forms in self._written.items())
        return [
            f"labels {', '.join(map(repr, forms))} taken as {name!r}"
            for name, forms in ways
            if len(forms) > 1
        ]

    def _name(self, value: object) -> str | None:
        if is_missing(value):
            return None
        if isinstance(value, str):
            name = normal_text(value)
            if name in _WRITTEN_MISSING:
                return None
            self._settle("text", value)
            self._written.setdefault(name, set()).add(value)
            return name
        whole = isinstance(value, float | np.floating) and float(value).is_integer()
        if not whole and not isinstance(value, int | np.integer | np.bool_):
            raise ValueError(f"expected one class name as label, got {shown(value)}")
        boolean = isinstance(value, bool | np.bool_)
        self._settle("yes or no" if boolean else "number", value)
        return str(bool(value)) if boolean else str(int(value))  # pyright: ignore[reportArgumentType]

    def _settle(self, kind: str, value: object) -> None:
        self._kind = self._kind or kind
        if kind != self._kind:
            raise ValueError(
                f"expected a {self._kind} like the labels before, got the {kind} {shown(value)}: write all in one way"
            )


def joined_names(names: Collection[str]) -> list[str]:
    """Names that are several others of the same names in one text, such as "joy,love" beside "joy" and "love"."""
    known = set(names)
    return [name for name in known if len(parts := _parts(name)) > 1 and known.issuperset(parts)]


def _parts(text: str) -> list[str]:
    """Parts of a text between commas, semicolons and bars."""
    return [part.strip() for part in re.split("[,;|]", text)]


def _listed(value: str, separator: str) -> object:
    """A list as csv holds it; a single name is a list of one.

    Args:
        value: A JSON list, or names between separators, of which empty ones do not count.
        separator: "" where there is none.

    Raises:
        ValueError: If it is no JSON list, or looks like several names.
    """
    text = value.strip()
    if text.startswith("["):
        try:
            return json.loads(text)
        except ValueError:
            if not separator:
                raise ValueError(
                    f"expected class names as a JSON list in the column labels, got {shown(value)}"
                ) from None
    if separator:
        return [part for part in map(str.strip, value.split(separator)) if part] or ""
    if len(parts := _parts(text)) > 1:
        example = json.dumps([part for part in parts if part], ensure_ascii=False)
        raise ValueError(
            f"several class names are written as a JSON list, {example}, or with --label-separator, but got "
            f"{shown(value)}; one name with a comma in it is {json.dumps([text], ensure_ascii=False)}"
        )
    return text


def shown(value: object) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
