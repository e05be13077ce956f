"""The paired bootstrap: the chance that one system beats another only by the choice of queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from textcl.errors import UserError

RESAMPLES = 10_000
_TABLE = 2**22  # indices held at once


@dataclass(frozen=True)
class PairedBootstrap:
    """Interval and p-values of resampled differences a − b of the same queries.

    Args:
        difference: Their mean over the queries, in the unit of the metric.
        interval: Percentile interval of the resampled means at `level`.
        p_two_sided: From the share of resampled means on either side of 0; None for a single query.
        p_one_sided: Of "a is not better than b"; None as `p_two_sided`.
        p_two_sided_centred: From means shifted to the null of no difference; None as `p_two_sided`.
        level: Coverage of the interval.
        wins: Queries in which a is higher.
        losses: Queries in which b is higher.
        ties: Queries in which both are equal.
        resamples: How many were drawn.
    """

    difference: float
    interval: tuple[float, float]
    p_two_sided: float | None
    p_one_sided: float | None
    p_two_sided_centred: float | None
    level: float
    wins: int
    losses: int
    ties: int
    resamples: int

    def __str__(self) -> str:
        """One line for a table, such as "+0.021 [+0.004, +0.038], p = 0.016 (225 queries)"."""
        low, high = self.interval
        p = "p undefined" if self.p_two_sided is None else f"p = {self.p_two_sided:.2g}"
        count = self.wins + self.losses + self.ties
        return f"{self.difference:+.3f} [{low:+.3f}, {high:+.3f}], {p} ({count} queries)"


def draw_resamples(
    queries: int, resamples: int = RESAMPLES, seed: int = 0
) -> Int[np.ndarray, "R N"]:
    """Query indices of every resample, with replacement; one table serves all metrics and systems.

    Args:
        queries: N, at least 1.
        resamples: R.
        seed: Seed of the draw.
    """
    return np.random.default_rng(seed).integers(0, queries, (resamples, queries), np.int32)


def paired_bootstrap(
    a: Sequence[float],
    b: Sequence[float],
    indices: Int[np.ndarray, "R N"],
    level: float = 0.95,
) -> PairedBootstrap:
    """Interval and p-values of the mean difference of two systems over the same queries.

    The queries are taken as a sample of those to come; what another seed of the training does, this does not say.

    Args:
        a: A metric of one system, one value a query.
        b: The metric of the other, of the same queries in the same order.
        indices: Resampled query indices, as from `draw_resamples`.
        level: Coverage of the interval, between 0 and 1.

    Raises:
        UserError: If the numbers of values differ, there is none, one is not finite, or `indices` do not fit them.

    Source: Efron & Tibshirani 1993, chapter 16; Sakai 2006, https://doi.org/10.1145/1148170.1148261
    """
    differences = _differences(a, b)
    if indices.ndim != 2 or not len(indices) or indices.shape[1] != len(differences):
        raise UserError(
            f"resamples of {len(differences)} queries have {len(differences)} indices each, got {indices.shape}"
        )
    mean, means = float(differences.mean()), resampled_means(differences, indices)
    one = len(means) + 1
    centred = (1 + int((np.abs(means - mean) >= abs(mean) - 1e-12).sum())) / one
    several = len(differences) > 1
    return PairedBootstrap(
        difference=mean,
        interval=percentile_interval(means, level),
        p_two_sided=two_sided_p(means) if several else None,
        p_one_sided=(1 + int((means <= 0).sum())) / one if several else None,
        p_two_sided_centred=centred if several else None,
        level=level,
        wins=int((differences > 0).sum()),
        losses=int((differences < 0).sum()),
        ties=int((differences == 0).sum()),
        resamples=len(indices),
    )


def percentile_interval(
    differences: Float[np.ndarray, " R"], level: float = 0.95
) -> tuple[float, float]:
    """The middle of resampled differences that holds this share of them."""
    low, high = np.percentile(differences, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def two_sided_p(differences: Float[np.ndarray, " R"]) -> float:
    """Twice the share of resampled differences on the rarer side of 0, counting one more; at most 1."""
    below, above = int((differences <= 0).sum()), int((differences >= 0).sum())
    return min(1.0, 2 * (1 + min(below, above)) / (len(differences) + 1))


def _differences(a: Sequence[float], b: Sequence[float]) -> Float[np.ndarray, " N"]:
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise UserError(
            "a paired bootstrap takes one value of either system for each query, "
            f"got {len(first)} and {len(second)}: score both on the same queries"
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise UserError("a paired bootstrap takes finite values only")
    return first - second


def resampled_means(
    differences: Float[np.ndarray, " N"], indices: Int[np.ndarray, "R N"]
) -> Float[np.ndarray, " R"]:
    """Mean difference over the queries of every resample."""
    rows = max(1, _TABLE // len(differences))
    blocks = range(0, len(indices), rows)
    return np.concatenate([differences[indices[i : i + rows]].mean(axis=1) for i in blocks])
