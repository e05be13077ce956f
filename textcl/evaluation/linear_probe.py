"""Linear classifiers on frozen vectors, trained as SentEval trains them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32
from sklearn.linear_model import LogisticRegression

from textcl.evaluation.descent import Descent
from textcl.evaluation.softmax_stack import (
    SEED,
    Places,
    SoftmaxStack,
    Split,
    with_ones,
)

_HELD_OUT = 0.05
_TOGETHER = 10
"""Splits trained side by side: more of them leave the processor's cache."""


@runtime_checkable
class Trainer(Protocol):
    """The settings of a linear classifier on rows and labels."""

    @property
    def nested_grid(self) -> Sequence[float]:
        """Regularisers of nested folds, and of a task with a dev split."""
        ...

    @property
    def fold_grid(self) -> Sequence[float]:
        """Regularisers of a task with a train and a test split."""
        ...

    def accuracies(
        self,
        rows: Float32[np.ndarray, "N D"],
        labels: Places,
        splits: Sequence[Split],
        regs: Sequence[float],
    ) -> list[list[float]]:
        """Accuracy on the held-out rows in [0, 1], for every regulariser of every split."""
        ...

    def predict(
        self,
        rows: Float32[np.ndarray, "N D"],
        labels: Places,
        splits: Sequence[Split],
        regs: Sequence[float],
        held_out: Places | None = None,
    ) -> list[Places]:
        """Classes of the second part of each split by a classifier of its first part, with its own regulariser.

        Args:
            rows: All vectors.
            labels: All classes.
            splits: Rows to train on, and rows to classify.
            regs: The regulariser of each split.
            held_out: Rows to train on that decide when training stops instead.
        """
        ...


@dataclass(frozen=True)
class LogisticTrainer:
    """Logistic regression of scikit-learn; a regulariser is its C.

    Args:
        nested_grid: As `Trainer` has it.
        fold_grid: As `Trainer` has it.
        max_iter: Most steps of a fit; SentEval leaves scikit-learn's own.
    """

    nested_grid: Sequence[float] = tuple(2.0**power for power in range(-2, 4))
    fold_grid: Sequence[float] = tuple(2.0**power for power in range(-1, 6))
    max_iter: int = 100

    def accuracies(
        self,
        rows: Float32[np.ndarray, "N D"],
        labels: Places,
        splits: Sequence[Split],
        regs: Sequence[float],
    ) -> list[list[float]]:
        """As `Trainer` has it."""
        return [
            [
                float(np.mean(self._classes(rows, labels, split, reg) == labels[split[1]]))
                for reg in regs
            ]
            for split in splits
        ]

    def predict(
        self,
        rows: Float32[np.ndarray, "N D"],
        labels: Places,
        splits: Sequence[Split],
        regs: Sequence[float],
        held_out: Places | None = None,
    ) -> list[Places]:
        """As `Trainer` has it; SentEval leaves rows that are held out for stopping among the others here."""
        pairs = zip(_without(splits, held_out), regs, strict=True)
        return [self._classes(rows, labels, split, reg) for split, reg in pairs]

    def _classes(
        self, rows: Float32[np.ndarray, "N D"], labels: Places, split: Split, reg: float
    ) -> Places:
        train, asked = split
        model = LogisticRegression(C=reg, random_state=SEED, max_iter=self.max_iter)
        return model.fit(rows[train], labels[train]).predict(rows[asked])


@dataclass(frozen=True)
class GradientTrainer:
    """Softmax regression by stochastic gradients with early stopping; a regulariser is the weight decay.

    Every classifier starts from the same seed, so those that differ in weight decay alone see the same batches, and
    those of splits of equal size see batches from the same places: they are trained side by side.

    Args:
        descent: How a classifier is trained.
        nested_grid: As `Trainer` has it.
        fold_grid: As `Trainer` has it.

    Source: Conneau & Kiela 2018, https://aclanthology.org/L18-1269, as Gao et al. 2021 run it
    """

    descent: Descent = field(default_factory=Descent)
    nested_grid: Sequence[float] = (1e-5, 1e-4, 1e-3, 1e-2)
    fold_grid: Sequence[float] = (1e-5, 1e-4, 1e-3, 1e-2)

    def accuracies(
        self,
        rows: Float32[np.ndarray, "N D"],
        labels: Places,
        splits: Sequence[Split],
        regs: Sequence[float],
    ) -> list[list[float]]:
        """As `Trainer` has it."""
        result: list[list[float]] = [[] for _ in splits]
        padded = with_ones(rows)
        for places in _alike(splits):
            decays = np.tile(regs, (len(places), 1))
            stack = SoftmaxStack(padded, labels, [splits[place] for place in places], decays)
            stack.fit(self.descent, np.random.RandomState(SEED))
            for place, best in zip(places, stack.accuracy.tolist(), strict=True):
                result[place] = best
        return result

    def predict(
        self,
        rows: Float32[np.ndarray, "N D"],
        labels: Places,
        splits: Sequence[Split],
        regs: Sequence[float],
        held_out: Places | None = None,
    ) -> list[Places]:
        """As `Trainer` has it; a twentieth of the rows to train on is held out where none are named."""
        result: list[Places] = [labels[:0] for _ in splits]
        padded, splits = with_ones(rows), _without(splits, held_out)
        for places in _alike(splits):
            draws = np.random.RandomState(SEED)
            trains = [splits[place][0] for place in places]
            parts = (
                [(train, held_out) for train in trains]
                if held_out is not None
                else _parted(trains, draws)
            )
            stack = SoftmaxStack(padded, labels, parts, np.array(regs)[places, None])
            stack.fit(self.descent, draws)
            for number, place in enumerate(places):
                result[place] = stack.predict(number, splits[place][1])
        return result


def _alike(splits: Sequence[Split]) -> Iterator[list[int]]:
    """Places of splits with as many training rows, a few at a time."""
    sizes: dict[int, list[int]] = {}
    for place, (train, _) in enumerate(splits):
        sizes.setdefault(len(train), []).append(place)
    for places in sizes.values():
        for begin in range(0, len(places), _TOGETHER):
            yield places[begin : begin + _TOGETHER]


def _parted(trains: Sequence[Places], draws: np.random.RandomState) -> list[Split]:
    """A twentieth of the rows of each, of as many rows each, held out."""
    order = draws.permutation(len(trains[0]))
    count = int(_HELD_OUT * len(order))
    return [(train[order[count:]], train[order[:count]]) for train in trains]


def _without(splits: Sequence[Split], held_out: Places | None) -> Sequence[Split]:
    """The splits without these rows among those to train on."""
    if held_out is None:
        return splits
    return [(np.setdiff1d(train, held_out), asked) for train, asked in splits]
