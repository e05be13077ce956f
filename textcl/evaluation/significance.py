"""Paired test of two methods on scores of the same seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import ttest_rel

from textcl.errors import UserError

TEST = "two-sided paired t-test"


@dataclass(frozen=True)
class Spread:
    """A number over seeds.

    Args:
        mean: None without a value.
        sd: Standard deviation (n − 1); None for fewer than two values.
        n: Values.
    """

    mean: float | None = None
    sd: float | None = None
    n: int = 0

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of some values."""
        return cls(
            statistics.mean(values) if values else None,
            statistics.stdev(values) if len(values) > 1 else None,
            len(values),
        )

    def describe(self, digits: int) -> str:
        """Mean ± standard deviation, with so many digits; a dash without a value."""
        if self.mean is None:
            return "–"
        sd = "" if self.sd is None else f" ± {self.sd:.{digits}f}"
        return f"{self.mean:.{digits}f}{sd}"


@dataclass(frozen=True)
class PairedTest:
    """A paired test of the differences a − b of the same seeds.

    Args:
        difference: Their mean, in the unit of the scores.
        sd: Their standard deviation, of a sample (n − 1).
        t: The statistic, difference / (sd / √n); None where all differences are equal.
        p_value: Chance of a |t| as large if both were alike and the differences normal; None as `t`.
        interval: 95 % confidence interval of the mean difference; None as `t`.
        n: Pairs.
        wins: Pairs in which a is higher.
        test: Name of the test.
    """

    difference: float
    sd: float
    t: float | None
    p_value: float | None
    interval: tuple[float, float] | None
    n: int
    wins: int
    test: str = TEST

    def __str__(self) -> str:
        """One line for a table, such as "+0.42 ± 0.31, p = 0.041 (5 pairs)"."""
        p = "p undefined" if self.p_value is None else f"p = {self.p_value:.2g}"
        return f"{self.difference:+.2f} ± {self.sd:.2f}, {p} ({self.n} pairs)"


def paired_test(a: Sequence[float], b: Sequence[float]) -> PairedTest | None:
    """Two-sided paired t-test of the scores of two methods.

    Pairing takes out what a seed does to both methods alike (the order of the rows, the draws of an initialisation).
    It says how sure the sign of the difference is over seeds; that the same holds on other data it does not say.

    Args:
        a: Scores of one method, one a seed.
        b: Scores of the other, of the same seeds in the same order.

    Returns:
        The test, or None where fewer than two pairs leave no spread to judge by.

    Raises:
        UserError: If the numbers of scores differ, or one is not finite.

    Source: Student 1908; Dror et al. 2018, section 3, https://aclanthology.org/P18-1128
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise UserError(
            f"a paired test takes one score of either method for each seed, got {len(first)} and {len(second)}: "
            "run both with the same seeds"
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise UserError("a paired test takes finite scores only: leave out the seeds that failed")
    if len(first) < 2:
        return None
    differences = first - second
    moments = float(differences.mean()), float(differences.std(ddof=1))
    wins = int((differences > 0).sum())
    if np.ptp(differences) <= 1e-12 * max(np.abs(first).max(), np.abs(second).max()):
        return PairedTest(moments[0], 0.0, None, None, None, len(first), wins)
    result = ttest_rel(first, second)
    low, high = result.confidence_interval(0.95)
    return PairedTest(
        *moments,
        float(result.statistic),
        float(result.pvalue),
        (float(low), float(high)),
        len(first),
        wins,
    )


def mean_sd(values: Sequence[float], digits: int = 2) -> str:
    """Mean ± standard deviation of a sample (n − 1), as a table shows it; the mean alone for a single value.

    Args:
        values: Scores of several seeds.
        digits: Places after the point.
    """
    if not len(values):
        return "–"
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for their number; None where one is undefined."""
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        adjusted[place] = highest
    return adjusted
