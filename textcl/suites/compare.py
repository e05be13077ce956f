"""Comparison of two systems on the same units: difference, interval and p of any score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from textcl.errors import UserError
from textcl.evaluation.bootstrap import RESAMPLES, percentile_interval, two_sided_p
from textcl.evaluation.resampling import Counts, Statistic, observed
from textcl.suites.suite import TaskResult

_TABLE = 2**22  # counts held at once
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """Two systems compared by one measure, over the same resamples. Scores are times 100.

    Args:
        task: Name of the task, "average" for the mean over several.
        label: Short name of it.
        measure: Name of the measure.
        unit: What was resampled.
        units: How many of them there are.
        a: Score of one system.
        b: Score of the other.
        difference: a − b over the units; None where one is undefined. A score that is a mean over folds may differ from
            its mean over rows in the second decimal.
        interval: Percentile interval of the resampled differences; None where a resample leaves the score undefined.
        p: Two-sided, from the share of resampled differences on either side of 0; None as `interval`, and for a
            single unit.
        level: Coverage of the interval.
        resamples: How many were drawn.
        seed: Of the draws.
        protocol: Of both scores.
    """

    task: str
    label: str
    measure: str
    unit: str
    units: int
    a: float | None
    b: float | None
    difference: float | None
    interval: tuple[float, float] | None
    p: float | None
    level: float
    resamples: int
    seed: int
    protocol: str


def compare(
    a: Mapping[str, TaskResult],
    b: Mapping[str, TaskResult],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Difference]:
    """Paired bootstrap over the queries, pairs or rows of every task, for every measure that can be resampled.

    The same resamples serve both systems and all measures of a task. The units are taken as a sample of those to come;
    what another seed of the training does, this does not say.

    Args:
        a: Results of one system by task.
        b: Results of the other, of the same tasks.
        resamples: How many are drawn.
        seed: Of the draws.

    Raises:
        UserError: If the tasks, their units or their protocols differ.

    Source: Efron & Tibshirani 1993, chapter 16; Berg-Kirkpatrick et al. 2012, https://aclanthology.org/D12-1091
    """
    if list(a) != list(b):
        raise UserError(f"both systems are compared on the same tasks, got {list(a)} and {list(b)}")
    rows: list[Difference] = []
    drawn: dict[tuple[str, str], list[Float[np.ndarray, " R"]]] = {}
    for place, name in enumerate(a):
        ours, theirs = a[name], b[name]
        _check(ours, theirs)
        for measure, differences in _resampled(ours, theirs, resamples, [seed, place]).items():
            drawn.setdefault((ours.protocol, measure), []).append(differences)
            rows.append(_difference(ours, theirs, measure, differences, seed))
    averages = [
        _average(
            [row for row in rows if (row.protocol, row.measure) == key], np.mean(parts, axis=0)
        )
        for key, parts in drawn.items()
        if len(parts) > 1
    ]
    return [*rows, *averages]


def _resampled(
    a: TaskResult, b: TaskResult, resamples: int, seed: list[int]
) -> dict[str, Float[np.ndarray, " R"]]:
    """Differences of every resample, by measure."""
    measures = [name for name in a.statistics if name in b.statistics]
    parts: dict[str, list[Float[np.ndarray, " R"]]] = {name: [] for name in measures}
    for counts in _draws(a.units, resamples, seed):
        for name in measures:
            pair = a.statistics[name], b.statistics[name]
            first, second = (statistic.resampled(counts) for statistic in pair)
            parts[name].append(first - second)
    return {name: np.concatenate(values) for name, values in parts.items()}


def _draws(units: int, resamples: int, seed: list[int]) -> Iterator[Counts]:
    draws, block = np.random.default_rng(seed), max(1, _TABLE // units)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        places = draws.integers(0, units, (rows, units))
        places += units * np.arange(rows)[:, None]
        yield np.bincount(places.ravel(), minlength=rows * units).reshape(rows, units)


def _difference(
    a: TaskResult, b: TaskResult, measure: str, resampled: Float[np.ndarray, " R"], seed: int
) -> Difference:
    both: tuple[Statistic, Statistic] = a.statistics[measure], b.statistics[measure]
    difference = 100 * (observed(both[0]) - observed(both[1]))
    interval, p = _verdict(resampled)
    return Difference(
        a.name,
        a.label,
        measure,
        a.unit,
        a.units,
        a.measures[measure],
        b.measures[measure],
        difference if np.isfinite(difference) else None,
        interval,
        p if a.units > 1 else None,
        LEVEL,
        len(resampled),
        seed,
        a.protocol,
    )


def _average(rows: list[Difference], resampled: Float[np.ndarray, " R"]) -> Difference:
    """The plain mean over tasks, whose units are drawn independently of each other."""
    first = rows[0]
    interval, p = _verdict(resampled)
    return Difference(
        "average",
        "avg",
        first.measure,
        first.unit,
        sum(row.units for row in rows),
        _mean([row.a for row in rows]),
        _mean([row.b for row in rows]),
        _mean([row.difference for row in rows]),
        interval,
        p,
        LEVEL,
        len(resampled),
        first.seed,
        first.protocol,
    )


def _verdict(resampled: Float[np.ndarray, " R"]) -> tuple[tuple[float, float] | None, float | None]:
    if not np.isfinite(resampled).all():
        return None, None
    low, high = percentile_interval(100 * resampled, LEVEL)
    return (low, high), two_sided_p(resampled)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _check(a: TaskResult, b: TaskResult) -> None:
    if (a.protocol, a.unit, a.units) != (b.protocol, b.unit, b.units):
        raise UserError(
            f"{a.name} was scored on {a.units:,} {a.unit} under {a.protocol} by one system, on {b.units:,} {b.unit} "
            f"under {b.protocol} by the other: score both on the same data"
        )
