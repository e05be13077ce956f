"""A labelled file of one's own as a task for encoders: a linear classifier and nearest neighbours on frozen vectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int

from textcl.data.rows import load_rows
from textcl.errors import UserError
from textcl.evaluation.linear_probe import SEED, LogisticTrainer
from textcl.evaluation.resampling import MacroF1, Mean, Statistic, observed
from textcl.evaluation.transfer import (
    nearest_by_folds,
    nearest_classes,
    nested_folds,
    train_and_test,
)
from textcl.suites.suite import Role, TaskResult, Vectors

FOLDS = 5
NEIGHBOURS = 5
_TRAINER = LogisticTrainer(max_iter=1000)


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Texts with one label each.

    Args:
        name: Name in the scores.
        rows: Texts of the training rows, then of the test rows; of all rows where folds test.
        labels: The label of each.
        train_rows: How many are training rows; None where folds test every row.
        source: The files.
    """

    name: str
    rows: Sequence[str]
    labels: Sequence[str]
    train_rows: int | None
    source: str

    @classmethod
    def of_files(
        cls, data: str, train: str | None = None, columns: Mapping[str, str] | None = None
    ) -> LabelledRows:
        """Rows of a file, or of a file to test on and one to train on.

        Args:
            data: Rows to test.
            train: Rows to train on; folds of `data` when None.
            columns: Role (text, label) to column.

        Raises:
            UserError: If a file cannot be read, has one class only, or too few rows of a class for the folds.
        """
        read = [
            load_rows(path, roles=("text", "label"), columns=columns)
            for path in (train, data)
            if path
        ]
        texts = [text for rows in read for text in rows.column("text")]
        labels = [str(label) for rows in read for label in rows.column("label")]
        count = None if train is None else len(read[0].column("text"))
        task = cls(Path(data).name, texts, labels, count, f"{train}, {data}" if train else data)
        task._check(train or data)
        return task

    def texts(self) -> Mapping[Role, Sequence[str]]:
        """All texts."""
        return {Role.plain: self.rows}

    def score(self, vectors: Vectors) -> TaskResult:
        """Accuracy and macro-F1 of both, times 100."""
        rows = vectors(self.rows)
        classes = sorted(set(self.labels))
        numbers = {name: number for number, name in enumerate(classes)}
        labels = np.array([numbers[label] for label in self.labels])
        linear, near = self._predicted(rows, labels)
        truth = labels[self.train_rows or 0 :]
        statistics: dict[str, Statistic] = {}
        for name, predicted in (("linear", linear), ("kNN", near)):
            statistics[f"{name} accuracy"] = Mean((predicted == truth).astype(np.float64))
            hot = (
                truth[:, None] == np.arange(len(classes)),
                predicted[:, None] == np.arange(len(classes)),
            )
            statistics[f"{name} macro-F1"] = MacroF1(*hot)
        tested = (
            f"{FOLDS} folds" if self.train_rows is None else f"{self.train_rows:,} training rows"
        )
        return TaskResult(
            self.name,
            self.name,
            "probe-folds" if self.train_rows is None else "probe-train-test",
            f"frozen vectors, {tested}: logistic regression (C of {_TRAINER.nested_grid[0]:g} to "
            f"{_TRAINER.nested_grid[-1]:g} by a fifth of the training rows), and the vote of the {NEIGHBOURS} nearest "
            f"by cosine, x100, seed {SEED}",
            {name: 100 * observed(statistic) for name, statistic in statistics.items()},
            tuple(statistics),
            "rows",
            statistics,
            self.source,
            counts={"classes": len(classes)},
            seed=SEED,
        )

    def _predicted(
        self, rows: Float32[np.ndarray, "N D"], labels: Int[np.ndarray, " N"]
    ) -> tuple[Int[np.ndarray, " M"], Int[np.ndarray, " M"]]:
        if self.train_rows is None:
            linear = nested_folds(rows, labels, _TRAINER, FOLDS, choosing=1)
            return linear.predicted, nearest_by_folds(rows, labels, NEIGHBOURS, FOLDS)
        count = self.train_rows
        linear = train_and_test(rows, labels, count, _TRAINER, FOLDS, choosing=1)
        return linear.predicted, nearest_classes(
            rows[:count], labels[:count], rows[count:], NEIGHBOURS
        )

    def _check(self, path: str) -> None:
        trained = Counter(self.labels[: self.train_rows])
        if len(trained) < 2:
            raise UserError(f"{path} has one class only: a probe needs at least two")
        label, count = min(trained.items(), key=lambda item: item[1])
        if count < FOLDS:
            raise UserError(
                f"{path} has {count} rows of the class {label!r}, and {FOLDS} folds need {FOLDS} of each: add rows or "
                "leave the class out"
            )
        if missing := sorted(set(self.labels) - set(trained))[:1]:
            raise UserError(f"the class {missing[0]!r} has no row in the training file {path}")
