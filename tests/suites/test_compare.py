from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import f1_score, roc_auc_score

from textcl.errors import UserError
from textcl.evaluation.bootstrap import paired_bootstrap
from textcl.evaluation.resampling import (
    AreaUnderCurve,
    MacroF1,
    Mean,
    MeanOfParts,
    RankCorrelation,
    observed,
)
from textcl.suites.compare import compare
from textcl.suites.suite import TaskResult

DRAWS = np.random.default_rng(3)
X, Y = DRAWS.integers(0, 6, 40) / 2.0, DRAWS.integers(0, 4, 40) + 0.0
PLACES = DRAWS.integers(0, 40, (25, 40))
COUNTS = np.stack([np.bincount(row, minlength=40) for row in PLACES])
HOT = np.eye(4, dtype=bool)


def result(statistics, name="toy", protocol="p", unit="pairs"):
    measures = {key: 100 * observed(value) for key, value in statistics.items()}
    return TaskResult(
        name, name, protocol, "how", measures, tuple(measures), unit, statistics, "here"
    )


@pytest.mark.parametrize(
    ("statistic", "of_rows"),
    [
        (Mean(X), lambda rows: X[rows].mean()),
        (RankCorrelation(X, Y), lambda rows: spearmanr(X[rows], Y[rows]).statistic),
        (AreaUnderCurve(X, Y > 1), lambda rows: roc_auc_score(Y[rows] > 1, X[rows])),
        (
            MacroF1(HOT[Y.astype(int)], HOT[(X % 4).astype(int)]),
            lambda rows: f1_score(
                Y[rows], (X[rows] % 4).astype(int), average="macro", labels=range(4), zero_division=0
            ),
        ),
        (
            MeanOfParts([(np.arange(30), Mean(X[:30])), (np.arange(30, 40), Mean(Y[30:]))], [1, 3], 40),
            lambda rows: np.average(
                [X[rows[rows < 30]].mean(), Y[rows[rows >= 30]].mean()], weights=[1, 3]
            ),
        ),
    ],
)  # fmt: skip
def test_a_score_of_counts_is_the_score_of_the_drawn_rows(statistic, of_rows):
    assert np.allclose(statistic.resampled(COUNTS), [of_rows(rows) for rows in PLACES])
    assert observed(statistic) == pytest.approx(of_rows(np.arange(40)))


def test_differences_of_means_are_those_of_the_paired_bootstrap():
    a, b = result({"m": Mean(X)}), result({"m": Mean(Y)})
    (row,) = compare({"toy": a}, {"toy": b}, resamples=400, seed=5)
    draws = np.random.default_rng([5, 0]).integers(0, 40, (400, 40))
    want = paired_bootstrap(X.tolist(), Y.tolist(), draws.astype(np.int32))
    assert row.difference == pytest.approx(100 * want.difference)
    assert row.interval == pytest.approx([100 * edge for edge in want.interval])
    assert row.p == want.p_two_sided
    assert (row.a, row.b, row.units, row.unit) == (a.measures["m"], b.measures["m"], 40, "pairs")


def test_equal_systems_differ_by_nothing_and_tasks_of_one_protocol_are_averaged():
    both = {name: result({"m": Mean(X), "r": RankCorrelation(X, Y)}, name) for name in "ab"}
    rows = compare(both, both, resamples=50)
    assert [(row.task, row.measure) for row in rows] == [
        ("a", "m"), ("a", "r"), ("b", "m"), ("b", "r"), ("average", "m"), ("average", "r"),
    ]  # fmt: skip
    assert {(row.difference, row.interval, row.p) for row in rows} == {(0.0, (0.0, 0.0), 1.0)}
    assert rows[-1].units == 80


def test_what_a_resample_leaves_undefined_has_no_interval():
    few = RankCorrelation(X[:2], Y[:2])
    (row,) = compare({"t": result({"r": few})}, {"t": result({"r": few})}, resamples=30)
    assert row.interval is row.p is None
    flat = RankCorrelation(np.ones(40), Y)
    (row,) = compare(
        {"t": replace(result({"r": Mean(X)}), statistics={"r": flat})},
        {"t": result({"r": RankCorrelation(X, Y)})},
        resamples=30,
    )
    assert row.difference is row.p is None


def test_systems_on_other_data_are_not_compared():
    one = {"toy": result({"m": Mean(X)})}
    with pytest.raises(UserError, match="compared on the same tasks"):
        compare(one, {"other": one["toy"]})
    other = {"toy": replace(one["toy"], statistics={"m": Mean(X[:10])})}
    with pytest.raises(UserError, match=r"40 pairs under p by one system, on 10 pairs"):
        compare(one, other)
