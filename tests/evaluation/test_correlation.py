import math
import random

import numpy as np
import pytest
import torch

from textcl.evaluation import geometry
from textcl.evaluation.benchmarks import Encodes
from textcl.evaluation.correlation import pair_scores, pearson, spearman, sts_aggregate
from textcl.evaluation.geometry import alignment, entropy, relative_penalty, tolerance, uniformity


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


def naive_uniformity(rows, t):
    units = [naive_unit(row) for row in rows]
    terms = [
        math.exp(-t * math.fsum((a - b) ** 2 for a, b in zip(units[i], units[j], strict=True)))
        for i in range(len(units))
        for j in range(i + 1, len(units))
    ]
    return math.log(math.fsum(terms) / len(terms))


def naive_tolerance(rows, labels, joint):
    units = [naive_unit(row) for row in rows]
    total, same, pairs = 0.0, 0, 0
    for i in range(len(units)):
        for j in range(i + 1, len(units)):
            pairs += 1
            if labels[i] == labels[j]:
                same += 1
                total += naive_dot(units[i], units[j])
    return total / (pairs if joint else same)


# Correlations


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


@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0])
def test_alignment_equals_naive_loop_whatever_the_norms(exponent):
    x, y = torch.randn(2, 7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    distances = [
        math.dist(naive_unit(a), naive_unit(b)) ** exponent
        for a, b in zip(x.tolist(), y.tolist(), strict=True)
    ]
    value = alignment(x * 50, y, exponent)
    assert value.item() == pytest.approx(sum(distances) / 7, abs=1e-12)


def test_alignment_of_equal_rows_is_zero_with_zero_gradient():
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    for exponent in (1.0, 2.0):
        value = alignment(x, x.detach(), exponent)
        (gradient,) = torch.autograd.grad(value, x)
        assert value.item() == 0.0
        assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("block", [1, 16, 40, 2**22])
@pytest.mark.parametrize("t", [0.5, 2.0])
def test_uniformity_equals_naive_loop_in_blocks_of_any_size(monkeypatch, block, t):
    monkeypatch.setattr(geometry, "_BLOCK", block)
    x = torch.randn(13, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x[3] = 0
    x[5] = x[4] * 2
    assert uniformity(x * 30, t).item() == pytest.approx(naive_uniformity(x.tolist(), t), abs=1e-12)


def test_uniformity_gradient_passes_gradcheck_across_blocks(monkeypatch):
    monkeypatch.setattr(geometry, "_BLOCK", 14)
    x = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(uniformity, x.requires_grad_())


def test_uniformity_stays_in_its_range():
    same = torch.ones(5, 3, dtype=torch.float64)
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    assert uniformity(same).item() == pytest.approx(0.0, abs=1e-12)
    assert uniformity(opposite).item() == pytest.approx(-8.0, abs=1e-12)


def test_uniformity_of_half_precision_and_under_autocast_is_computed_wide():
    x = torch.randn(9, 4, generator=torch.Generator().manual_seed(3)).bfloat16()
    expected = naive_uniformity(x.float().tolist(), 2.0)
    with torch.autocast("cpu", torch.bfloat16):
        value = uniformity(x)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected, abs=1e-5)


def test_uniformity_of_one_row_is_nan_with_a_warning():
    with pytest.warns(RuntimeWarning, match="fewer than two rows"):
        assert uniformity(torch.ones(1, 3)).isnan()


def test_tolerance_equals_naive_loop_and_its_two_kinds_differ_by_the_class_prior():
    x = torch.randn(11, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    labels = [0, 3, 3, 1, 0, 0, 7, 1, 3, 0, 3]
    given = torch.tensor(labels)
    conditional, joint = tolerance(x * 9, given).item(), tolerance(x, given, "joint").item()
    assert conditional == pytest.approx(naive_tolerance(x.tolist(), labels, False), abs=1e-12)
    assert joint == pytest.approx(naive_tolerance(x.tolist(), labels, True), abs=1e-12)
    same = sum(labels[i] == labels[j] for i in range(11) for j in range(i))
    assert joint == pytest.approx(conditional * same / 55, abs=1e-12)


def test_tolerance_has_a_gradient():
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    labels = torch.tensor([0, 0, 1, 1, 0])
    assert torch.autograd.gradcheck(lambda rows: tolerance(rows, labels), x.requires_grad_())


def test_tolerance_without_a_pair_of_one_class_is_nan_only_when_conditional():
    x, labels = torch.randn(3, 2, generator=torch.Generator().manual_seed(6)), torch.arange(3)
    with pytest.warns(RuntimeWarning, match="conditional tolerance has no pair"):
        assert tolerance(x, labels).isnan()
    assert tolerance(x, labels, "joint").item() == pytest.approx(0.0, abs=1e-6)
    with pytest.warns(RuntimeWarning, match="joint tolerance has no pair"):
        assert tolerance(x[:1], labels[:1], "joint").isnan()


def test_relative_penalty_equals_naive_softmax_and_its_entropy_grows_with_temperature():
    similarities = torch.tensor([[0.9, 0.5, 0.1], [0.2, 0.2, 0.2]], dtype=torch.float64)
    entropies = []
    for temperature in (0.05, 0.3, 2.0):
        shares = relative_penalty(similarities, temperature)
        weights = [math.exp(s / temperature) for s in (0.9, 0.5, 0.1)]
        assert shares[0].tolist() == pytest.approx([w / sum(weights) for w in weights], abs=1e-12)
        entropies.append(entropy(shares))
    assert entropies[0][0] < entropies[1][0] < entropies[2][0]
    for values in entropies:
        assert values[1].item() == pytest.approx(math.log(3), abs=1e-12)


def test_relative_penalty_skips_masked_negatives_and_an_anchor_without_any():
    similarities = torch.tensor([[0.5, -torch.inf, 0.5], [-torch.inf] * 3])
    shares = relative_penalty(similarities, 0.1)
    assert shares.tolist() == [[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]
    assert entropy(shares, "bits").tolist() == [1.0, 0.0]
