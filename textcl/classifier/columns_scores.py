"""Scores of a classifier of several label columns: each column by itself, and their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Unpack

import numpy as np
from jaxtyping import Int

from textcl.classifier.classifier import vectors_of
from textcl.classifier.columns import ColumnsClassifier
from textcl.classifier.columns_rows import load_column_rows
from textcl.classifier.scores import ClassifierScore, headline, score_vectors
from textcl.encoder.peers import ReadingOptions
from textcl.evaluation.labelled import LabelledTask


@dataclass(frozen=True)
class ColumnTasks:
    """Texts of a file, and for each label column those that have a label in it as a task.

    Args:
        texts: All of them.
        tasks: By the name of the column.
        places: Of the texts of a task among all.
    """

    texts: Sequence[str]
    tasks: Mapping[str, LabelledTask]
    places: Mapping[str, Int[np.ndarray, " n"]]


def column_tasks(
    classifier: ColumnsClassifier, path: str, columns: Mapping[str, str] | None = None
) -> ColumnTasks:
    """A file with several label columns as a task for each of them.

    Args:
        classifier: What it is to score.
        path: The file, with a column for the text and one for each label.
        columns: Role to column name, where they differ.

    Raises:
        UserError: If something is wrong in the file, or a label is none of the classes.
    """
    rows, parts = load_column_rows(path, classifier, columns)
    tasks = {
        name: LabelledTask(
            name,
            parts[name].rows.column("text"),
            parts[name].rows.column("label"),
            part.classes,
            part.multi_label,
            path,
            blank=rows.report.blank,
        )
        for name, part in classifier.parts.items()
    }
    return ColumnTasks(
        rows.column("text"), tasks, {name: part.places for name, part in parts.items()}
    )


def score_columns(
    classifier: ColumnsClassifier,
    path: str,
    columns: Mapping[str, str] | None = None,
    **options: Unpack[ReadingOptions],
) -> dict[str, ClassifierScore]:
    """Score every column on the rows of a file that have a label in it; each text is encoded once.

    Args:
        classifier: As of `ColumnsClassifier.from_pretrained`.
        path: The file, with a column for the text and one for each label.
        columns: Role to column name, where they differ.
        options: As of `Encoder.encode`: batch_tokens, precision ("float32" when not given), show_progress.

    Raises:
        UserError: If something is wrong in the file, or a label is none of the classes.
    """
    own = column_tasks(classifier, path, columns)
    exact: ReadingOptions = {"precision": "float32", **options}
    vectors = vectors_of(classifier.encoder, own.texts, **exact)
    return {
        name: score_vectors(classifier[name], task, vectors[own.places[name]])
        for name, task in own.tasks.items()
    }


def mean_of_columns(scores: Mapping[str, ClassifierScore]) -> dict[str, float]:
    """Means over the columns of the numbers that stand in a table; see `headline`."""
    heads = [headline(score.result) for score in scores.values()]
    return {key: float(np.mean([head[key] for head in heads])) for key in heads[0]}
