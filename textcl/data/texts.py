"""Texts and tables of other libraries: read value by value, or refused by name.

Libraries for tables are recognised by what their objects can do, so none of them needs to be installed.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow

from textcl.errors import UserError


def as_texts(value: object) -> Iterator[str]:
    """The texts that a list, a column or an iterator holds, one after the other.

    Lists, tuples, 1-D arrays of numpy, columns of pandas, polars, pyarrow and `datasets`, and anything that can be
    passed over are taken, an iterator without reading ahead.

    Args:
        value: N texts.

    Raises:
        UserError: If it is something else, as soon as it is known: at once for the whole, on the way for one of them.
    """
    column = as_column(value)
    if column is None:
        raise UserError(
            f"expected a list, a column or an iterator of texts, got {refused_value(value)}"
        )
    return _strings(column)


def _strings(values: Iterable[object]) -> Iterator[str]:
    for place, text in enumerate(values):
        if not isinstance(text, str):
            hint = ": fill or drop missing values first" if is_missing(text) else ""
            raise UserError(f"texts must be strings, but number {place} is {text!r:.80}{hint}")
        yield str(text) if type(text) is not str else text


def count_of(value: object) -> int | None:
    """Number of values of a list or a column, where it is known before they are read."""
    try:
        return len(value)  # pyright: ignore[reportArgumentType]
    except TypeError:  # an iterator, or an array without dimensions
        return None


def normal_text(text: str) -> str:
    """The form in which texts are compared: NFC, stripped."""
    return unicodedata.normalize("NFC", text).strip()


def is_missing(value: object) -> bool:
    """Whether a value stands for none: None, NaN, and the NA and NaT of pandas."""
    if value is None:
        return True
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return type(value).__name__ in {"NAType", "NaTType"}


def as_column(value: object) -> Iterable[object] | None:
    """The values of a list, a column or an iterator as Python's own; None if it is something else."""
    if isinstance(value, str | bytes | bytearray | Mapping | set | frozenset | io.IOBase):
        return None
    if len(getattr(value, "shape", (0,))) != 1 or hasattr(value, "column_names"):
        return None
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(value, method):
            return getattr(value, method)()
    return value if isinstance(value, Iterable) else None


def as_columns(value: Any) -> dict[str, Sequence[object]] | None:
    """The columns of a table as lists: of pyarrow, pandas or polars, or a dict of columns; None if it is no table.

    Raises:
        UserError: If two columns have one name, or they differ in length.
    """
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, pyarrow.Table | pyarrow.RecordBatch):
        pairs = list(zip(value.column_names, value.columns, strict=True))
    elif len(getattr(value, "shape", ())) == 2 and hasattr(value, "columns"):
        pairs = [(name, _series(value, place)) for place, name in enumerate(value.columns)]
    else:
        return None
    columns: dict[str, Sequence[object]] = {}
    for name, column in pairs:
        values = as_column(column)
        if values is None:
            raise UserError(
                f"the column {str(name)!r} must be a list of values, got {refused_value(column)}"
            )
        if str(name) in columns:
            raise UserError(f"two columns have the name {str(name)!r}: rename one of them")
        columns[str(name)] = values if isinstance(values, Sequence) else list(values)
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        sizes = ", ".join(f"{name!r} {length:,}" for name, length in lengths.items())
        raise UserError(f"the columns differ in length: {sizes}")
    return columns


def _series(frame: Any, place: int) -> object:
    """A column by its place: pandas allows two of one name."""
    return frame.iloc[:, place] if hasattr(frame, "iloc") else frame.to_series(place)


def refused_value(value: object) -> str:
    """Description of a value that cannot be taken, with what to pass instead."""
    kind = type(value).__name__
    if isinstance(value, str):
        return "one text: put it into a list, [text]"
    if isinstance(value, set | frozenset):
        return f"a {kind}, which has no order: pass a list"
    if isinstance(value, io.IOBase):
        return "an open file: pass its lines, [line.rstrip() for line in file]"
    names = value.keys() if isinstance(value, Mapping) else getattr(value, "column_names", None)
    if names is None and len(getattr(value, "shape", ())) == 2:
        names = getattr(value, "columns", None)
    if names is not None and len(names := [str(name) for name in names]):
        return (
            f"a {kind} with the columns {', '.join(map(repr, names[:10]))}: "
            f"pass one of them, such as data[{names[0]!r}]"
        )
    shape = getattr(value, "shape", None)
    return kind if shape is None else f"{kind} of shape {tuple(shape)}"
