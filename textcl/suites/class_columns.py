"""A classifier of several label columns on labelled texts, as results that can be compared by resampling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

from textcl.classifier.classifier import vectors_of
from textcl.classifier.columns import ColumnsClassifier
from textcl.classifier.columns_scores import ColumnTasks
from textcl.encoder.peers import ReadingOptions
from textcl.evaluation.bootstrap import RESAMPLES
from textcl.evaluation.resampling import MeanOfParts, Statistic, observed
from textcl.suites.classes import classified_vectors
from textcl.suites.compare import Difference, compare
from textcl.suites.suite import TaskResult

MEAN = "mean of columns"
"""Name of the mean among the results of the columns."""


def classified_columns(
    classifier: ColumnsClassifier, rows: ColumnTasks, **options: Unpack[ReadingOptions]
) -> dict[str, TaskResult]:
    """Accuracy and macro-F1 times 100 of each column, and their means over the columns; a text is encoded once.

    Args:
        classifier: One with the columns and classes of the rows.
        rows: Texts with their labels in each column.
        options: As of `Encoder.encode`; precision is "float32" when not given, for exact scores.

    Returns:
        By the name of the column, and under `MEAN`.
    """
    exact: ReadingOptions = {"precision": "float32", **options}
    vectors = vectors_of(classifier.encoder, rows.texts, **exact)
    results = {
        name: classified_vectors(classifier[name], task, vectors[rows.places[name]])
        for name, task in rows.tasks.items()
    }
    return {**results, MEAN: _mean(results, rows)}


def compare_columns(
    a: Mapping[str, TaskResult],
    b: Mapping[str, TaskResult],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Difference]:
    """Paired bootstrap over the rows of each column, and for the mean over all texts with all their labels.

    A column has its own rows, those with a label in it. For the mean whole texts are drawn, as the answers to the
    columns of one text are not independent of each other.

    Args:
        a: Results of one classifier, of `classified_columns`.
        b: Results of the other, of the same texts.
        resamples: How many are drawn.
        seed: Of the draws.

    Raises:
        UserError: If the columns or their rows differ.
    """
    if list(a) != list(b):
        return compare(a, b)  # which says so
    return [row for name in a for row in compare({name: a[name]}, {name: b[name]}, resamples, seed)]


def _mean(results: Mapping[str, TaskResult], rows: ColumnTasks) -> TaskResult:
    first = next(iter(results.values()))
    statistics: dict[str, Statistic] = {
        measure: MeanOfParts(
            [(rows.places[name], each.statistics[measure]) for name, each in results.items()],
            [1.0] * len(results),
            len(rows.texts),
        )
        for measure in first.statistics
    }
    return TaskResult(
        MEAN,
        "mean",
        first.protocol,
        f"plain mean over the columns {', '.join(results)}",
        {name: 100 * observed(statistic) for name, statistic in statistics.items()},
        tuple(statistics),
        "rows",
        statistics,
        first.source,
    )
