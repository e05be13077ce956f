"""Labelled texts that select the weights of a classifier of several label columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from textcl.classifier.columns import ColumnsClassifier
from textcl.classifier.dev import DevTexts
from textcl.classifier.labels import dev_texts
from textcl.classifier.settings import LabelledSettings
from textcl.data.label_columns import column_role
from textcl.data.rows import Rows
from textcl.errors import UserError


@dataclass(frozen=True)
class DevColumns:
    """Texts with labels in several columns; the score is the mean over the columns.

    Args:
        name: What a reader calls them.
        texts: All of them.
        parts: The texts that have a label in a column, by the name of the column.
        places: Where these are among all texts.
        note: What a reader must know about the data.
    """

    name: str
    texts: Sequence[str]
    parts: Mapping[str, DevTexts]
    places: Mapping[str, Int[np.ndarray, " n"]]
    note: str = ""

    @property
    def protocol(self) -> str:
        """Protocol of the score."""
        measure = {"accuracy": "accuracy", "macro-f1": "macro-F1"}[
            next(iter(self.parts.values())).select_by
        ]
        columns = ", ".join(self.parts)
        return f"{self.name}, {measure} × 100, mean over {columns}, float32"

    @property
    def size(self) -> str:
        """Size of the data, in words."""
        return f"{len(self.texts):,} texts"

    def __call__(self, model: ColumnsClassifier) -> float:
        """The mean score × 100 of a model over the columns; see `class_score`."""
        return float(np.mean(list(self.scores(model).values())))

    def scores(self, model: ColumnsClassifier) -> dict[str, float]:
        """The score × 100 of a model in each column."""
        probabilities = model.predict_proba(self.texts, precision="float32")
        return {name: self.score(name, shares) for name, shares in probabilities.items()}

    def score(self, column: str, probabilities: Float[np.ndarray, "N C"]) -> float:
        """The score × 100 of a column's probabilities for all texts."""
        return self.parts[column].score(probabilities[self.places[column]])


def dev_columns(rows: Rows, settings: LabelledSettings, name: str, note: str = "") -> DevColumns:
    """Rows with labels in several columns as what selects weights.

    Args:
        rows: The rows.
        settings: Of the run, with its columns and their classes.
        name: What a reader calls them.
        note: What a reader must know about the data.

    Raises:
        UserError: If no row has a label in one of the columns, or a label is none of its classes.
    """
    parts: dict[str, DevTexts] = {}
    places: dict[str, Int[np.ndarray, " n"]] = {}
    for column, each in zip(settings.label_columns, settings.by_column, strict=True):
        labels = rows.column(column_role(column))
        places[column] = np.flatnonzero([label is not None for label in labels])
        if not len(places[column]):
            raise UserError(
                f"{name}: no row has a label in the column {column}, so that nothing selects its head"
            )
        parts[column] = dev_texts(rows.of_label_column(column), each, f"{name}, {column}")
    return DevColumns(name, rows.column("text"), parts, places, note)
