"""Scores of resamples, for every kind of score: from how often each unit was drawn to the score of each resample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from textcl.evaluation.classification import class_f1

Counts = Int[np.ndarray, "R N"]
"""Count of each of N units in each of R resamples."""


@runtime_checkable
class Statistic(Protocol):
    """A score of N units (queries, pairs, rows) that can be computed of any resample of them."""

    @property
    def units(self) -> int:
        """N."""
        ...

    def resampled(self, counts: Counts) -> Float[np.ndarray, " R"]:
        """The score of every resample, NaN where it is undefined."""
        ...


def observed(statistic: Statistic) -> float:
    """The score of the units as they are."""
    return float(statistic.resampled(np.ones((1, statistic.units), np.int64))[0])


@dataclass(frozen=True, eq=False)
class Mean:
    """The mean of one value a unit."""

    values: Float[np.ndarray, " N"]

    @property
    def units(self) -> int:
        """N."""
        return len(self.values)

    def resampled(self, counts: Counts) -> Float[np.ndarray, " R"]:
        """The mean of every resample."""
        with np.errstate(invalid="ignore"):
            return counts @ self.values / counts.sum(axis=1)


@dataclass(frozen=True, eq=False)
class _Ranks:
    """Values in ascending order: the order, where each run of equal values starts, and the run of each unit."""

    order: Int[np.ndarray, " N"]
    starts: Int[np.ndarray, " G"]
    run: Int[np.ndarray, " N"]

    @classmethod
    def of(cls, values: Float[np.ndarray, " N"]) -> _Ranks:
        _, starts, run = np.unique(values, return_index=True, return_inverse=True)
        order = np.argsort(run, kind="stable")
        starts = np.searchsorted(run[order], np.arange(len(starts)))
        return cls(order, starts, run)

    def centred(self, counts: Counts) -> tuple[Float[np.ndarray, "R N"], Float[np.ndarray, " R"]]:
        """Rank of each unit minus the mean rank in every resample, and the sum of their squares."""
        sizes = np.add.reduceat(counts[:, self.order], self.starts, axis=1)
        middle = sizes.cumsum(axis=1) - (sizes - 1) / 2
        middle -= (counts.sum(axis=1, keepdims=True) + 1) / 2
        return middle[:, self.run], (sizes * middle**2).sum(axis=1)


@dataclass(frozen=True, eq=False)
class RankCorrelation:
    """Spearman's correlation of similarities with gold scores; ties have the mean of their ranks.

    Args:
        similarities: One a pair.
        gold: One a pair, finite.
    """

    similarities: Float[np.ndarray, " N"]
    gold: Float[np.ndarray, " N"]

    @property
    def units(self) -> int:
        """N."""
        return len(self.gold)

    def resampled(self, counts: Counts) -> Float[np.ndarray, " R"]:
        """The correlation of every resample."""
        (x, spread_x), (y, spread_y) = (each.centred(counts) for each in self._ranks)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.einsum("rn,rn,rn->r", counts.astype(np.float64), x, y) / np.sqrt(
                spread_x * spread_y
            )

    @cached_property
    def _ranks(self) -> tuple[_Ranks, _Ranks]:
        return _Ranks.of(self.similarities), _Ranks.of(self.gold)


@dataclass(frozen=True, eq=False)
class AreaUnderCurve:
    """The share of (positive, negative) pairs in the right order; ties count one half.

    Args:
        similarities: One a unit.
        positive: Whether it should be high.
    """

    similarities: Float[np.ndarray, " N"]
    positive: Bool[np.ndarray, " N"]

    @property
    def units(self) -> int:
        """N."""
        return len(self.positive)

    def resampled(self, counts: Counts) -> Float[np.ndarray, " R"]:
        """The area of every resample."""
        centred, _ = self._ranks.centred(counts)
        total, positives = counts.sum(axis=1), counts @ self.positive.astype(np.float64)
        ranks = ((centred + (total[:, None] + 1) / 2) * counts)[:, self.positive].sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            above = ranks - positives * (positives + 1) / 2
            return above / (positives * (total - positives))

    @cached_property
    def _ranks(self) -> _Ranks:
        return _Ranks.of(self.similarities)


@dataclass(frozen=True, eq=False)
class MacroF1:
    """The plain mean of F1 over classes.

    Args:
        labels: Whether a row has each label.
        predicted: Whether it was predicted.
    """

    labels: Bool[np.ndarray, "N C"]
    predicted: Bool[np.ndarray, "N C"]

    @property
    def units(self) -> int:
        """N."""
        return len(self.labels)

    def resampled(self, counts: Counts) -> Float[np.ndarray, " R"]:
        """Macro-F1 of every resample."""
        return class_f1(self.labels, self.predicted, counts.astype(np.float64)).mean(axis=-1)


@dataclass(frozen=True, eq=False)
class MeanOfParts:
    """A weighted mean of scores, each of some of the units, such as the subsets of a task.

    Args:
        parts: Places of the units of each part, and its score.
        weights: Of each part.
        units: Units of all parts.
    """

    parts: Sequence[tuple[Int[np.ndarray, " _"], Statistic]]
    weights: Sequence[float]
    units: int

    def resampled(self, counts: Counts) -> Float[np.ndarray, " R"]:
        """The mean of every resample."""
        scores = [part.resampled(counts[:, places]) for places, part in self.parts]
        return np.average(scores, axis=0, weights=self.weights)
