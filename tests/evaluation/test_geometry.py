"""Alignment, uniformity, tolerance and penalties beside plain loops."""

import math

import pytest
import torch

from textcl.evaluation import geometry
from textcl.evaluation.geometry import alignment, entropy, tolerance, uniformity


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


def test_entropy_is_in_nats_or_bits_and_zero_where_there_is_no_share():
    shares = torch.tensor([[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]])
    assert entropy(shares).tolist() == pytest.approx([math.log(2), 0.0])
    assert entropy(shares, "bits").tolist() == [1.0, 0.0]
