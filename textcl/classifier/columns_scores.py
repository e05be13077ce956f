"""Scores of a classifier of several label columns: each column by itself, and their mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

import numpy as np

from textcl.classifier.classifier import vectors_of
from textcl.classifier.columns import ColumnsClassifier
from textcl.classifier.columns_rows import load_column_rows
from textcl.classifier.scores import ClassifierScore, headline, score_vectors
from textcl.encoder.peers import ReadingOptions
from textcl.evaluation.labelled import LabelledTask


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
    rows, parts = load_column_rows(path, classifier, columns)
    exact: ReadingOptions = {"precision": "float32", **options}
    vectors = vectors_of(classifier.encoder, rows.column("text"), **exact)
    scores: dict[str, ClassifierScore] = {}
    for name, part in classifier.parts.items():
        own = parts[name].rows
        task = LabelledTask(
            name,
            own.column("text"),
            own.column("label"),
            part.classes,
            part.multi_label,
            path,
            blank=rows.report.blank,
        )
        scores[name] = score_vectors(part, task, vectors[parts[name].places])
    return scores


def mean_of_columns(scores: Mapping[str, ClassifierScore]) -> dict[str, float]:
    """Means over the columns of the numbers that stand in a table; see `headline`."""
    heads = [headline(score.result) for score in scores.values()]
    return {key: float(np.mean([head[key] for head in heads])) for key in heads[0]}
