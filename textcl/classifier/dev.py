"""Labelled texts that select the weights of a classifier, and holding them out of the training rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from textcl.classifier.classifier import Targets
from textcl.data import splits
from textcl.data.label_columns import column_role, label_columns
from textcl.data.roles import label_role
from textcl.data.rows import Rows
from textcl.data.splits import Split
from textcl.evaluation.classification import class_f1
from textcl.terminal import counted
from textcl.training.dev import held_out_share as held_out_share

SelectBy = Literal["accuracy", "macro-f1"]


@runtime_checkable
class Classifies(Protocol):
    """Anything that gives class probabilities."""

    @property
    def classes(self) -> Sequence[str]:
        """Names in the order of the columns."""
        ...

    def predict_proba(self, texts: Sequence[str], *, precision: str) -> Float[np.ndarray, "N C"]:
        """Probability of each class."""
        ...


@dataclass(frozen=True)
class DevTexts:
    """Labelled texts that select the weights of a classifier.

    Args:
        name: What a reader calls them.
        texts: The texts.
        targets: Class ids (N,), or which classes each text has (N, C).
        select_by: What is measured. Where texts have several labels a class is predicted from a probability of 0.5
            on, and accuracy is the share of texts all of whose classes are right.
        note: What a reader must know about the data.
    """

    name: str
    texts: Sequence[str]
    targets: Targets
    select_by: SelectBy
    note: str = ""

    @property
    def protocol(self) -> str:
        """Protocol of the score."""
        return score_protocol(self.name, self.select_by, self.targets.ndim == 2)

    @property
    def size(self) -> str:
        """Size of the data, in words."""
        return counted(len(self.texts), "text")

    def __call__(self, model: Classifies) -> float:
        """The score × 100 of a model; see `class_score`."""
        return self.score(model.predict_proba(self.texts, precision="float32"))

    def score(self, probabilities: Float[np.ndarray, "N C"]) -> float:
        """The score × 100 of probabilities of the classes; see `class_score`."""
        return class_score(self.targets, probabilities, self.select_by)


def score_protocol(name: str, select_by: SelectBy, multi_label: bool) -> str:
    """Protocol of a score on labelled texts.

    Args:
        name: What a reader calls the texts.
        select_by: What is measured.
        multi_label: Whether texts have several labels.
    """
    metric = {"accuracy": "accuracy", "macro-f1": "macro-F1"}[select_by]
    threshold = ", threshold 0.5" if multi_label else ""
    return f"{name}, {metric} × 100{threshold}, float32"


def class_score(
    targets: Targets, probabilities: Float[np.ndarray, "N C"], select_by: SelectBy
) -> float:
    """Accuracy or macro-F1 × 100; the F1 of a class that no text has and none is predicted is 0.

    Args:
        targets: Class ids (N,), or which classes each text has (N, C).
        probabilities: Of each class; where texts have several labels, those of 0.5 and more are predicted.
        select_by: Which of both.
    """
    hot = np.eye(probabilities.shape[1], dtype=bool)
    if targets.ndim == 2:
        labels, predicted = targets, probabilities >= 0.5
    else:
        labels, predicted = hot[targets], hot[probabilities.argmax(1)]
    if select_by == "accuracy":
        return 100 * float((labels == predicted).all(1).mean())
    return 100 * float(class_f1(labels, predicted).mean())


def standard_error(accuracy: float, rows: int) -> float:
    """Standard error of an accuracy, × 100; of none or all rows right, that of half a row."""
    share = min(max(accuracy / 100, 0.5 / rows), 1 - 0.5 / rows)
    return 100 * (share * (1 - share) / rows) ** 0.5


def hold_out(rows: Rows, share: float, seed: int) -> tuple[Rows, Rows, Split]:
    """Training rows and held-out rows, which follow from the seed, and how they were divided.

    Raises:
        UserError: If nothing can be held out.
    """
    split = splits.hold_out(rows.column("text"), _labels_of(rows), share, seed)
    return rows.take(split.kept), rows.take(split.held), split


def _labels_of(rows: Rows) -> Sequence[str | Sequence[str]]:
    """The label of each row, or its several labels; those of several columns by the name of the column."""
    names = label_columns(rows.roles)
    if not names:
        return rows.column(label_role("labels" in rows.roles))
    columns = zip(*(rows.column(column_role(name)) for name in names), strict=True)
    return [
        [f"{name}: {label}" for name, label in zip(names, row, strict=True) if label is not None]
        for row in columns
    ]
