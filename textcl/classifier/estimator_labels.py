"""Labels of any kind as an estimator is given them: numbers, texts, lists of names or an indicator matrix."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Bool, Float32
from scipy.sparse import csr_matrix, issparse
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from textcl.data.labels import joined_names
from textcl.data.texts import as_column, is_missing, normal_text
from textcl.errors import UserError

LabelNames = str | list[str]
"""The name of a row's label, or a list of names where rows have several."""


@dataclass(frozen=True)
class GivenLabels:
    """Labels as a recipe takes them, and what they stand for.

    Args:
        role: "label", or "labels" where texts have several.
        names: The name of each row's label, or a list of names.
        classes: The labels themselves, sorted.
        class_names: The name of each of them.
    """

    role: str
    names: Sequence[LabelNames]
    classes: np.ndarray
    class_names: tuple[str, ...]


def read_labels(y: object) -> GivenLabels:
    """Labels of any hashable kind, lists of labels, or an indicator matrix.

    Raises:
        UserError: If a label is missing or one whose name is also that of another.
    """
    values = as_column(y)
    values = None if values is None else list(values)
    if values is None or _is_indicator(values):
        return _of_matrix(y)
    _check_present(values)
    kind = getattr(y, "dtype", None)
    if any(isinstance(value, list | tuple | set | np.ndarray) for value in values):
        lists = [[_clean(name) for name in cast("Iterable[object]", names)] for names in values]
        classes = np.asarray(MultiLabelBinarizer().fit(lists).classes_)
        return GivenLabels(
            "labels", [[_name(n) for n in names] for names in lists], classes, _names(classes)
        )
    column = [_clean(value) for value in values]
    _tell_joined(column)
    if all(isinstance(value, str | bool | int | float | np.generic) for value in column):
        check_classification_targets(column)
        classes = np.unique(column_or_1d(column))
        if isinstance(kind, np.dtype) and kind.kind == "T":  # StringDType of numpy 2
            classes = classes.astype(kind)
        return GivenLabels(
            "label", [_name(label) for label in column_or_1d(column)], classes, _names(classes)
        )
    classes = _objects(column)
    named = dict(zip(classes.tolist(), _names(classes), strict=True))
    return GivenLabels("label", [named[label] for label in column], classes, tuple(named.values()))


def _of_matrix(y: object) -> GivenLabels:
    if type_of_target(y) != "multilabel-indicator":
        check_classification_targets(y)
        return read_labels(column_or_1d(y, warn=True))
    hot = np.asarray(cast(csr_matrix, y).toarray() if issparse(y) else y)
    columns = list(cast("Iterable[object]", getattr(y, "columns", ())))
    named = bool(columns) and all(isinstance(name, str) for name in columns)
    classes = np.array(columns) if named else np.arange(hot.shape[1])
    names = _names(classes)
    return GivenLabels(
        "labels", [[names[i] for i in np.flatnonzero(row)] for row in hot], classes, names
    )


def _objects(labels: Sequence[object]) -> np.ndarray:
    """Distinct labels that are no texts or numbers, sorted where they can be."""
    if unhashable := [label for label in labels if not isinstance(label, Hashable)]:
        raise UserError(f"a label must be hashable, got {unhashable[0]!r:.80}")
    distinct = list(dict.fromkeys(labels))
    try:
        distinct = sorted(cast("list[str]", distinct))
    except TypeError:
        distinct = sorted(distinct, key=repr)
    classes = np.empty(len(distinct), dtype=object)
    classes[:] = distinct
    return classes


def _name(label: object) -> str:
    """The name of a label's class: its text, which bytes are too."""
    return label.decode(errors="backslashreplace") if isinstance(label, bytes) else str(label)


def _names(classes: np.ndarray) -> tuple[str, ...]:
    names = tuple(map(_name, classes))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"two labels are written {twice!r}: give each a name of its own")
    return names


def _is_indicator(values: Sequence[object]) -> bool:
    """Whether rows of a list are those of a matrix of zeros and ones."""
    if not values or not all(isinstance(row, list | tuple | np.ndarray) for row in values):
        return False
    rows = cast("Sequence[Sequence[object]]", values)
    width = len(rows[0])
    whole = all(
        isinstance(each, int | np.integer) and each in (0, 1) for row in rows for each in row
    )
    return width > 1 and whole and all(len(row) == width for row in rows)


def _check_present(labels: Sequence[object]) -> None:
    missing = [place for place, label in enumerate(labels) if is_missing(label)]
    if missing:
        places = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
        raise UserError(
            f"y has no label (is None or NaN) at number {places}: leave those texts out"
        )
    if len({isinstance(label, str) for label in labels}) > 1:
        raise UserError(
            "y mixes texts and numbers, so that 1 and '1' would be one class: write all in one way"
        )


def _tell_joined(column: Sequence[object]) -> None:
    """Warn of labels that look like several in one text: each of them is a class of its own."""
    if joined := sorted(joined_names({label for label in column if isinstance(label, str)})):
        warnings.warn(
            f"y has the label {joined[0]!r} and also its parts, and treats it as one more class; several "
            "labels of a text are a list",
            UserWarning,
            stacklevel=4,
        )


def in_order(
    values: Float32[np.ndarray, "N c"],
    classes: np.ndarray,
    learnt: Sequence[str],
    otherwise: float,
) -> Float32[np.ndarray, "N C"]:
    """Columns of a classifier as its labels have them.

    Args:
        values: By the classifier.
        classes: The labels.
        learnt: Names of the classes in the order of the values.
        otherwise: What a label gets that was not learnt.
    """
    columns, places = learnt_columns(classes, learnt)
    ordered = np.full((len(values), len(classes)), otherwise, dtype=np.float32)
    ordered[:, columns] = values[:, places]
    return ordered


def with_reject_label(
    labels: np.ndarray, rejected: Bool[np.ndarray, " N"], reject_label: object
) -> np.ndarray:
    """Labels with another one in place of those that are rejected; objects where both differ in kind.

    Args:
        labels: Of N texts.
        rejected: Whether each is rejected.
        reject_label: The other one.
    """
    alike = isinstance(reject_label, str) == isinstance(labels[0], str)
    labels = labels.astype(np.result_type(labels, np.array(reject_label)) if alike else object)
    labels[rejected] = reject_label
    return labels


def share_equal(labels: np.ndarray, truths: Iterable[object], sample_weight: object) -> float:
    """Share of the labels that are the true ones, which may be of any kind.

    Args:
        labels: Of N texts.
        truths: Their true labels.
        sample_weight: How much each text counts; None for 1.
    """
    right = [label == truth for label, truth in zip(labels, truths, strict=True)]
    weights = None if sample_weight is None else np.asarray(sample_weight, float)
    return float(np.average(right, weights=weights))


def learnt_columns(classes: np.ndarray, learnt: Sequence[str]) -> tuple[list[int], list[int]]:
    """Places of the labels that were learnt, and where the classifier has them; arguments as of `in_order`."""
    place = {name: index for index, name in enumerate(learnt)}
    columns = [column for column, label in enumerate(classes) if _name(label) in place]
    return columns, [place[_name(classes[column])] for column in columns]


def _clean(label: object) -> object:
    return normal_text(label) if isinstance(label, str) else label
