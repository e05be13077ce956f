"""What the columns of a data set are for: which column holds a role, and what a value of it must be.

"score" is a finite number, "label" a class name, "labels" a list of them; every other role (text, anchor, positive,
negative, sentence1, …) is a text.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import pyarrow

from textcl.errors import UserError

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "text": ("sentence", "sentences"),
    "sentence1": ("sentence_1", "sentence_A"),
    "sentence2": ("sentence_2", "sentence_B"),
}
"""Columns taken for a role when none has the role's own name; anything else is named by the user."""


class Kind(NamedTuple):
    """What a role holds.

    Args:
        convert: Checks a value; None if it is an empty text. Raises ValueError with half a sentence.
        stored: Type of the column on disk.
    """

    convert: Callable[[Any], Any]
    stored: pyarrow.DataType


def column_for(
    role: str, names: Sequence[str], columns: Mapping[str, str] | None, place: str
) -> str:
    """The column that holds `role`.

    Args:
        role: Such as "anchor".
        names: The columns that are there.
        columns: What the user said: role to column name.
        place: Where `names` were seen, for the message.

    Raises:
        UserError: If no column, or more than one, could be meant.
    """
    wanted = (columns or {}).get(role)
    if wanted is not None:
        found = [wanted] if wanted in names else []
    else:
        found = [role] if role in names else [n for n in SYNONYMS.get(role, ()) if n in names]
    if len(found) == 1:
        return found[0]
    there = ", ".join(list(names)[:20]) or "none"
    asked = f"column {wanted!r} for the role {role}" if wanted else f"column for the role {role}"
    several = f"several columns ({', '.join(found)})" if found else f"no {asked}"
    raise UserError(
        f"{place} has {several}; the columns there are {there}: say which one with --column {role}=NAME"
    )


def normal_text(text: str) -> str:
    """The form in which texts are compared: NFC, stripped."""
    return unicodedata.normalize("NFC", text).strip()


def text_group(text: str) -> int:
    """Identity of a text: equal for texts that are equal in NFC and stripped.

    Returns:
        A signed 64-bit number, the same in every process and on every machine.
    """
    return _digest(normal_text(text))


def row_group(values: Sequence[Any]) -> int:
    """Identity of a row: equal for rows whose values are all equal; of a single text that text's `text_group`."""
    forms = [
        normal_text(value) if isinstance(value, str) else json.dumps(value) for value in values
    ]
    return _digest("\x1f".join(forms))


def _digest(text: str) -> int:
    raw = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(raw, "little", signed=True)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"expected a text, got {_shown(value)}")
    if not value or value.isspace():
        return None
    if "\0" in value:
        raise ValueError(
            f"the text holds a NUL character (at {value.index(chr(0)) + 1}); remove it"
        )
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"the text holds half a surrogate pair (at {error.start + 1}), which is no character; remove it"
            ) from error
    return value


def _score(value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"expected a number as score, got {_shown(value)}")
    return number


def _label(value: Any) -> str:
    if not isinstance(value, (str, int)) or value == "":
        raise ValueError(f"expected one class name as label, got {_shown(value)}")
    return str(value)


def _labels(value: Any) -> list[str]:
    if isinstance(value, str) and value.startswith("["):  # how csv holds a list
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError(
                f"expected class names as a JSON list in the column labels, got {_shown(value)}"
            ) from None
    if not isinstance(value, (list, tuple)):
        value = [value]
    return [_label(name) for name in value]


def _shown(value: Any) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


TEXT = Kind(_text, pyarrow.string())
_OTHERS = {
    "score": Kind(_score, pyarrow.float64()),
    "label": Kind(_label, pyarrow.string()),
    "labels": Kind(_labels, pyarrow.list_(pyarrow.string())),
}


def kind_of(role: str) -> Kind:
    """What `role` holds."""
    return _OTHERS.get(role, TEXT)
