"""Several label columns as an estimator is given them, and its answers for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Float32
from sklearn.utils.validation import check_consistent_length

from textcl.classifier.classifier import Classifier
from textcl.classifier.columns import ColumnsClassifier
from textcl.classifier.estimator_labels import GivenLabels, in_order, read_labels
from textcl.classifier.estimator_rows import kept_rows, read_texts, sample_weights
from textcl.data.json_files import JsonObject
from textcl.data.splits import Split, hold_out
from textcl.data.texts import as_columns, is_missing
from textcl.errors import UserError

Values = Mapping[str, Sequence[object]]
Fitted = Classifier | ColumnsClassifier
Labels = np.ndarray | list[np.ndarray]


@dataclass(frozen=True)
class FittingColumns:
    """Rows to train on, with labels in several columns.

    Args:
        texts: None of them blank.
        labels: The name of each row's label in every column; None where there is none.
        names: Of the columns.
        classes: The labels of each column, sorted.
    """

    texts: list[str]
    labels: list[tuple[str | None, ...]]
    names: tuple[str, ...]
    classes: list[np.ndarray]

    @property
    def class_count(self) -> int:
        """Classes of the column that has most."""
        return max(len(classes) for classes in self.classes)

    @property
    def columns(self) -> dict[str, str]:
        """Columns of `records`, as `textcl.train` takes them."""
        return {"label": ",".join(self.names)}

    def records(self) -> list[dict[str, object]]:
        """The rows as `textcl.train` takes them."""
        return [
            {"text": text, **dict(zip(self.names, row, strict=True))}
            for text, row in zip(self.texts, self.labels, strict=True)
        ]

    def held_out(self, share: str, seed: int) -> Split:
        """Mask of the rows that training holds out.

        Args:
            share: Of the rows.
            seed: Of the run.
        """
        return hold_out(self.texts, _by_column(self.names, self.labels), float(share), seed)


def fitting_columns(
    texts: object, y: object, sample_weight: object, class_weight: object, seed: int
) -> FittingColumns | None:
    """The rows that `fit` trains on, where y has several label columns; None where it has one.

    Args:
        texts: N texts.
        y: A table with a column for each label, a dict of columns, a list of dicts, or an array (N, columns) that is
            no indicator matrix.
        sample_weight: How much each text counts; None for 1.
        class_weight: None or "balanced".
        seed: What the rounding of weights follows from.

    Raises:
        UserError: If a text is no text, a row has no label at all, the lengths differ, or fewer than 2 rows are left.
    """
    columns = label_columns_of(y)
    if columns is None:
        return None
    if isinstance(class_weight, Mapping):
        raise UserError('where there are several label columns class_weight is None or "balanced"')
    given = {name: _read(name, values) for name, values in columns.items()}
    labels = list(zip(*(_names(given[name], columns[name]) for name in columns), strict=True))
    texts = read_texts(texts)
    check_consistent_length(texts, labels)
    if bare := [place for place, row in enumerate(labels) if not any(row)]:
        raise UserError(f"y has no label in any column at number {bare[0]}: leave that text out")
    weights = sample_weights(len(texts), sample_weight)
    places = kept_rows(texts, _by_column(tuple(columns), labels), weights, seed)
    return FittingColumns(
        [texts[place] for place in places],
        [labels[place] for place in places],
        tuple(columns),
        [each.classes for each in given.values()],
    )


def label_columns_of(y: object) -> dict[str, Sequence[object]] | None:
    """Several label columns by name; None where y has one label a row, or is an indicator matrix.

    Raises:
        UserError: If the names of the columns cannot be used.
    """
    columns: dict[str, Sequence[object]] | None
    if isinstance(y, list) and y and all(isinstance(row, Mapping) for row in y):
        rows = cast("list[Mapping[str, object]]", y)
        columns = {str(name): [row.get(name) for row in rows] for row in rows for name in row}
    elif isinstance(y, np.ndarray) and y.ndim == 2:
        columns = {f"label_{i + 1}": y[:, i].tolist() for i in range(y.shape[1])}
    else:
        columns = as_columns(y)
    by_name = isinstance(y, list | Mapping)
    if columns is None or len(columns) < 2 or (not by_name and _is_indicator(columns)):
        return None
    if odd := [name for name in columns if "," in name or name in ("", "text")]:
        raise UserError(
            f"a label column cannot be called {odd[0]!r}: give it a name without a comma, and another than text"
        )
    return columns


def _is_indicator(columns: Values) -> bool:
    return all(
        isinstance(value, bool | int | float | np.generic) and value in (0, 1)
        for values in columns.values()
        for value in values
    )


def _read(name: str, values: Sequence[object]) -> GivenLabels:
    given = read_labels([value for value in values if not is_missing(value)])
    if given.role != "label":
        raise UserError(
            f"the label column {name} has a list of labels in a row: several columns hold one each"
        )
    return given


def _names(given: GivenLabels, values: Sequence[object]) -> list[str | None]:
    names = iter(cast("Sequence[str]", given.names))
    return [None if is_missing(value) else next(names) for value in values]


def _by_column(names: Sequence[str], labels: Sequence[tuple[str | None, ...]]) -> list[list[str]]:
    """Labels of each row with the name of their column before them, as they are held out."""
    return [
        [f"{name}: {label}" for name, label in zip(names, row, strict=True) if label is not None]
        for row in labels
    ]


def one_of(classifier: Fitted, classes: Labels) -> tuple[Classifier, np.ndarray]:
    """A classifier of one label column, and its labels.

    Args:
        classifier: Of an estimator.
        classes: Its labels.
    """
    assert isinstance(classifier, Classifier)
    assert isinstance(classes, np.ndarray)
    return classifier, classes


def several_of(
    classifier: Fitted, classes: Labels
) -> tuple[ColumnsClassifier, list[np.ndarray]] | None:
    """A classifier of several columns, and the labels of each; None where there is one; arguments as of `one_of`."""
    if isinstance(classifier, ColumnsClassifier) and isinstance(classes, list):
        return classifier, classes
    return None


def probabilities_of(
    classifier: ColumnsClassifier, classes: Sequence[np.ndarray], texts: Sequence[str]
) -> list[Float32[np.ndarray, "N C"]]:
    """Probabilities of the labels of each column.

    Args:
        classifier: Of several label columns.
        classes: The labels of each column.
        texts: N texts.
    """
    shares = classifier.predict_proba(texts, precision="float32")
    return [
        in_order(shares[name], labels, part.classes, 0.0)
        for (name, part), labels in zip(classifier.parts.items(), classes, strict=True)
    ]


def logits_of(
    classifier: ColumnsClassifier, classes: Sequence[np.ndarray], texts: Sequence[str]
) -> list[Float32[np.ndarray, "N C"]]:
    """Class logits of the labels of each column; arguments as of `probabilities_of`."""
    lowest = float(np.finfo(np.float32).min)
    logits = classifier.logits(texts, precision="float32")
    return [
        in_order(logits[name], labels, part.classes, lowest)
        for (name, part), labels in zip(classifier.parts.items(), classes, strict=True)
    ]


def labels_of(
    probabilities: Sequence[Float32[np.ndarray, "N C"]], classes: Sequence[np.ndarray]
) -> np.ndarray:
    """The most probable label of each column (N, columns): texts, numbers, or objects where columns differ in kind."""
    columns = [
        labels[shares.argmax(1)] for shares, labels in zip(probabilities, classes, strict=True)
    ]
    alike = len({isinstance(labels[0], str) for labels in classes}) == 1
    kind = np.result_type(*columns) if alike else np.dtype(object)
    return np.stack([column.astype(kind) for column in columns], axis=1)


def share_right(predicted: np.ndarray, y: object, sample_weight: object, texts: int) -> float:
    """Share of the rows all of whose labels are predicted; a label that is missing in y is not asked for.

    Args:
        predicted: What `labels_of` gave.
        y: As of `fitting_columns`.
        sample_weight: How much each text counts; None for 1.
        texts: Their number.

    Raises:
        UserError: If y has no such columns.
    """
    columns = label_columns_of(y)
    if columns is None or len(columns) != predicted.shape[1]:
        raise UserError(
            f"expected y with {predicted.shape[1]} label columns, as fit had: a table, or an array of {texts} rows"
        )
    truth = list(zip(*columns.values(), strict=True))
    check_consistent_length(predicted, truth)
    right = [
        all(is_missing(label) or label == own for label, own in zip(row, given, strict=True))
        for row, given in zip(truth, predicted.tolist(), strict=True)
    ]
    return float(np.average(right, weights=sample_weights(texts, sample_weight)))


def saved_classes(note: JsonObject | None, classifier: Fitted) -> Labels:
    """The labels, of several columns those of each, as an estimator saved them; names of classes where it did not.

    Args:
        note: Content of estimator.json; None where there is none.
        classifier: Beside it.

    Raises:
        UserError: If they are not those of the classifier.
    """
    if isinstance(classifier, Classifier):
        classes = note.get("classes", list[object]) if note else None
        return np.array(sorted(classifier.classes) if classes is None else classes)
    saved = note.get("classes", list[list[object]]) if note else None
    if saved is None:
        return [np.array(sorted(names)) for names in classifier.classes.values()]
    if len(saved) != len(classifier.columns):
        raise UserError(
            f"{note and note.place}: expected the classes of {len(classifier.columns)} label columns, got {len(saved)}"
        )
    return [np.array(labels) for labels in saved]
