"""Roles of the columns of a data set: the column of each, and what its values must be.

"score" is a finite number, "weight" one of at least 0, "scores" and "vector" lists of numbers, "label" a class name,
"labels" a list of them (see `labels.LabelReader`), "label:topic" the class name in one of several label columns, which
may be missing while another is there, "positives" and "negatives" are lists of texts, "positive_id",
"positive_ids" and "negative_ids" name the documents that texts come from; every other role (text, anchor, positive,
negative, sentence1, …) is a text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple, cast

import numpy as np
import pyarrow

from textcl.data.label_columns import is_label_column
from textcl.data.labels import LabelReader, shown
from textcl.data.texts import is_missing, normal_text
from textcl.errors import UserError

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "text": ("sentence", "sentences"),
    "sentence1": ("sentence_1", "sentence_A"),
    "sentence2": ("sentence_2", "sentence_B"),
}
"""Columns taken for a role when none has the role's own name; anything else is named by the user."""


class Kind(NamedTuple):
    """Kind of the values of a role.

    Args:
        reader: Makes what checks the values of one pass. It gives None for an empty text or a missing label, and
            raises ValueError with half a sentence.
        stored: Type of the column on disk.
    """

    reader: Callable[[], Callable[[object], object]]
    stored: pyarrow.DataType


def column_for(
    role: str, names: Sequence[str], columns: Mapping[str, str] | None, place: str
) -> str:
    """The column that holds `role`.

    Args:
        role: Such as "anchor".
        names: The columns of the data.
        columns: The user's choices: role to column name.
        place: Where `names` were seen, for the message.

    Raises:
        UserError: If no column, or more than one, could be meant.
    """
    chosen = (columns or {}).get(role)
    if chosen is not None:
        fitting = [chosen] if chosen in names else []
    else:
        fitting = [role] if role in names else [n for n in SYNONYMS.get(role, ()) if n in names]
    if len(fitting) == 1:
        return fitting[0]
    available = ", ".join(map(repr, names[:20])) or "none"
    what = "label" if is_label_column(role) else role
    missing = f"column {chosen!r} for the role {what}" if chosen else f"column for the role {what}"
    fault = f"several columns ({', '.join(map(repr, fitting))})" if fitting else f"no {missing}"
    like = [] if chosen else [name for name in names if name.lower() == role]
    way = (
        "label=NAME,NAME"
        if is_label_column(role)
        else f"{role}={like[0] if len(like) == 1 else 'NAME'}"
    )
    raise UserError(
        f"{place} has {fault}; its columns are {available}: say which one with --column {way}"
    )


def text_group(text: str) -> int:
    """Identity of a text: equal for texts that are equal in NFC and stripped.

    Returns:
        A signed 64-bit number, the same in every process and on every machine.
    """
    return _digest(normal_text(text))


def row_group(values: Sequence[object]) -> int:
    """Identity of a row: equal for rows whose values are all equal; of a single text that text's `text_group`."""
    forms = [
        normal_text(value) if isinstance(value, str) else json.dumps(value) for value in values
    ]
    return _digest("\x1f".join(forms))


def _digest(text: str) -> int:
    raw = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(raw, "little", signed=True)


def text_value(value: object) -> str | None:
    """A checked text; None if it is empty or missing.

    Raises:
        ValueError: With half a sentence, if it is something else or cannot be stored.
    """
    if not isinstance(value, str):
        if is_missing(value):
            return None
        raise ValueError(f"expected a text, got {shown(value)}")
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


def _score(value: object) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"expected a number as score, got {shown(value)}")
    return number


def _weight(value: object) -> float:
    number = _score(value)
    if number < 0:
        raise ValueError(f"expected a weight of at least 0, got {shown(value)}")
    return number


def _numbers(value: object) -> list[float]:
    numbers = [_score(item) for item in _items(value, "numbers")]
    if not numbers:
        raise ValueError("expected a list of numbers, got none")
    return numbers


def texts_value(value: object) -> list[str] | None:
    """A checked list of texts, which csv holds as a JSON list; None where it is missing or has none.

    Raises:
        ValueError: With half a sentence, if it is something else, or one of the texts is empty.
    """
    items = _items(value, "texts")
    texts = [text_value(item) for item in items]
    if None in texts:
        raise ValueError(
            f"text {texts.index(None) + 1} of the list is empty: remove it from the list"
        )
    return texts or None  # pyright: ignore[reportReturnType]


def _texts_or_none_of_them(value: object) -> list[str]:
    return texts_value(value) or []


def _items(value: object, what: str) -> list[object]:
    """The values of a list; none of them where it is missing."""
    if is_missing(value):
        return []
    if isinstance(value, str):
        if not value.strip():
            return []
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        raise ValueError(f'expected a list of {what}, as a JSON list ["…", "…"] in a csv')
    return list(cast("Iterable[object]", value))


def _identity(value: object) -> str:
    if is_missing(value) or value == "" or not isinstance(value, str | int | np.integer):
        raise ValueError(
            f"expected the id of a document, a text or a whole number, got {shown(value)}"
        )
    return str(value)


def _identities(value: object) -> list[str]:
    return [_identity(item) for item in _items(value, "document ids")]


NUMBERS = ("weight", "scores", "vector")
"""Roles whose numbers come with a row to the objective."""

TEXT = Kind(lambda: text_value, pyarrow.string())
TEXT_LISTS = {
    "positives": Kind(lambda: texts_value, pyarrow.list_(pyarrow.string())),
    "negatives": Kind(lambda: _texts_or_none_of_them, pyarrow.list_(pyarrow.string())),
}
_OTHERS = {
    **TEXT_LISTS,
    "positive_id": Kind(lambda: _identity, pyarrow.string()),
    "positive_ids": Kind(lambda: _identities, pyarrow.list_(pyarrow.string())),
    "negative_ids": Kind(lambda: _identities, pyarrow.list_(pyarrow.string())),
    "weight": Kind(lambda: _weight, pyarrow.float64()),
    "scores": Kind(lambda: _numbers, pyarrow.list_(pyarrow.float64())),
    "vector": Kind(lambda: _numbers, pyarrow.list_(pyarrow.float32())),
    "score": Kind(lambda: _score, pyarrow.float64()),
    "label": Kind(lambda: LabelReader(several=False), pyarrow.string()),
    "labels": Kind(lambda: LabelReader(several=True), pyarrow.list_(pyarrow.string())),
}


def label_role(several: bool) -> str:
    """The role of the labels of texts that have one each, or several."""
    return "labels" if several else "label"


def kind_of(role: str) -> Kind:
    """Kind of the values of a role."""
    return _OTHERS["label"] if is_label_column(role) else _OTHERS.get(role, TEXT)


def reader_of(role: str, label_separator: str = "") -> Callable[[object], object]:
    """Check for the values of `role` in one pass, see `Kind`.

    Args:
        role: Such as "labels".
        label_separator: Separates several labels that are written as one text.
    """
    if role == "labels":
        return LabelReader(several=True, separator=label_separator)
    return kind_of(role).reader()


def texts_in(role: str, value: object) -> list[str]:
    """The texts that a value of `role` holds: one, those of a list, or none."""
    if role in TEXT_LISTS:
        return list(cast("Iterable[str]", value))
    return [cast(str, value)] if kind_of(role) is TEXT else []
