import math
import random

import numpy as np
import pytest

from textcl.evaluation.benchmarks import Encodes
from textcl.evaluation.correlation import pair_scores, pearson, spearman, sts_aggregate


def naive_ranks(values):
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2
        for value in values
    ]


def naive_pearson(x, y):
    mx, my = math.fsum(x) / len(x), math.fsum(y) / len(y)
    xy = math.fsum((a - mx) * (b - my) for a, b in zip(x, y, strict=True))
    xx, yy = math.fsum((a - mx) ** 2 for a in x), math.fsum((b - my) ** 2 for b in y)
    return xy / math.sqrt(xx * yy)


def naive_unit(row):
    norm = max(math.sqrt(math.fsum(v * v for v in row)), 1e-12)
    return [v / norm for v in row]


def naive_dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_correlations_equal_naive_loops_with_ties(seed):
    rng = random.Random(seed)
    x = [rng.choice([0.0, 0.25, 0.5, 1.0, 3.0]) for _ in range(40)]
    y = [a + rng.choice([-1.0, 0.0, 0.0, 2.0]) for a in x]
    assert pearson(np.array(x), np.array(y)) == pytest.approx(naive_pearson(x, y), abs=1e-14)
    expected = naive_pearson(naive_ranks(x), naive_ranks(y))
    assert spearman(np.array(x), np.array(y)) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("coefficient", [pearson, spearman])
@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([], []),
        ([1.0], [2.0]),
        ([0.1, 0.1, 0.1], [1.0, 2.0, 3.0]),
        ([1.0, 2.0, 3.0], [0.7, 0.7, 0.7]),
        ([1.0, np.nan, 3.0], [1.0, 2.0, 3.0]),
        ([1.0, 2.0, 3.0], [1.0, np.inf, 3.0]),
    ],
)
def test_undefined_coefficient_is_none(coefficient, x, y):
    assert coefficient(np.array(x), np.array(y)) is None


def test_pearson_survives_the_ends_of_the_float_range():
    x = np.array([1.0, 2.0, 4.0])
    assert pearson(x * 1e300, x) == pytest.approx(1.0, abs=1e-15)
    assert pearson(x * 1e-300, -x) == pytest.approx(-1.0, abs=1e-15)
    assert pearson(x + 1e9, x) == pytest.approx(1.0, abs=1e-6)


def test_pearson_never_leaves_its_range():
    x = np.random.default_rng(0).normal(size=(200, 7))
    values = [pearson(row, row * 3 + 1) for row in x]
    assert max(values) <= 1.0
    assert min(values) > 1 - 1e-12


def test_pair_scores_equal_naive_cosines_and_count_a_zero_vector_as_zero():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 6, 3)).astype(np.float32)
    a[2] = 0
    scores = pair_scores(a, b)
    expected = [
        naive_dot(naive_unit(x), naive_unit(y)) for x, y in zip(a.tolist(), b.tolist(), strict=True)
    ]
    assert scores.dtype == np.float64
    assert scores == pytest.approx(expected, abs=1e-12)
    assert scores[2] == 0.0


# Aggregation


def test_aggregate_drops_blank_gold_and_weights_by_scored_pairs():
    rng = np.random.default_rng(2)
    similarities, gold = rng.normal(size=(2, 20))
    subsets = ["a"] * 5 + ["b"] * 8 + ["a"] * 7
    gold[[1, 6, 7]] = np.nan
    result = sts_aggregate(similarities, gold, subsets)
    by_name = {
        name: [i for i in range(20) if subsets[i] == name and not math.isnan(gold[i])]
        for name in "ab"
    }
    assert list(result.subsets) == ["a", "b"]
    r = {}
    for name, kept in by_name.items():
        r[name] = naive_pearson(similarities[kept].tolist(), gold[kept].tolist())
        assert result.subsets[name].pearson == pytest.approx(r[name], abs=1e-12)
        assert result.subsets[name].pairs == len(kept)
    assert (len(by_name["a"]), len(by_name["b"])) == (11, 6)
    assert result.mean.pearson == pytest.approx((r["a"] + r["b"]) / 2, abs=1e-12)
    assert result.wmean.pearson == pytest.approx((11 * r["a"] + 6 * r["b"]) / 17, abs=1e-12)
    together = by_name["a"] + by_name["b"]
    expected = naive_pearson(
        naive_ranks(similarities[together].tolist()), naive_ranks(gold[together].tolist())
    )
    assert result.all.spearman == pytest.approx(expected, abs=1e-12)
    assert result.all.pairs == result.mean.pairs == 17
    assert result.aggregate("wmean") is result.wmean


def test_aggregate_of_one_subset_is_the_same_three_times():
    similarities, gold = np.random.default_rng(3).normal(size=(2, 9))
    result = sts_aggregate(similarities, gold)
    assert result.mean.spearman == pytest.approx(result.all.spearman)
    assert result.wmean.spearman == pytest.approx(result.all.spearman)


def test_mean_over_an_undefined_subset_is_none_but_all_is_not():
    similarities = np.array([0.1, 0.5, 0.3, 0.9])
    gold = np.array([1.0, 2.0, 3.0, 4.0])
    result = sts_aggregate(similarities, gold, ["a", "a", "a", "lonely"])
    assert result.subsets["lonely"].spearman is None
    assert (result.mean.spearman, result.wmean.spearman) == (None, None)
    assert result.all.spearman == pytest.approx(0.8)


def test_aggregate_without_any_gold_is_none():
    result = sts_aggregate(np.array([0.1, 0.2]), np.array([np.nan, np.nan]), ["a", "b"])
    assert (result.all.spearman, result.mean.spearman, result.wmean.spearman) == (None,) * 3
    assert result.all.pairs == 0


def test_encodes_recognises_an_encoder():
    class Stub:
        def encode(self, texts):
            return np.zeros((len(texts), 1))

    assert isinstance(Stub(), Encodes)
    assert not isinstance(object(), Encodes)


# Geometry
