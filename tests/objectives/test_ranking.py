"""CoSENT and AnglE beside loops over pairs of pairs."""

from __future__ import annotations

import math

import pytest
import torch
from contracts import check_objective, loss_and_gradients

from textcl.arithmetic import unit
from textcl.objectives.ranking import _log_sum_of_wrong, angle, cosent
from textcl.types import Embeddings

SCORES = [0.1, 0.9, 0.5, 0.5, 0.3, 1.0]


def rows(n, scores: list[float] | None = SCORES, dim=6):
    g = torch.Generator().manual_seed(0)
    table = torch.randn((64, 2, dim), generator=g, dtype=torch.float64)
    gold = None if scores is None else torch.tensor(scores, dtype=torch.float64)[:n]
    return Embeddings.of(scores=gold, sentence1=table[:n, 0], sentence2=table[:n, 1])


def slow_cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def slow_angle(z, w):
    """The quotient of complex numbers, as the paper writes it."""
    half = len(z) // 2
    total = 0.0
    for a, b, c, d in zip(z[:half], z[half:], w[:half], w[half:], strict=True):
        norm = sum(x * x for x in w)
        real, imaginary = (a * c + b * d) / norm, (b * c - a * d) / norm
        ratio = math.hypot(*z) / math.hypot(*w)
        total += real / ratio + imaginary / ratio
    return abs(total)


def slow_loss(z, similarity, temperature):
    pairs = zip(z["sentence1"].tolist(), z["sentence2"].tolist(), strict=True)
    a = [similarity(left, right) / temperature for left, right in pairs]
    total = 1.0
    for i in range(len(a)):
        for j in range(len(a)):
            if z.scores[i] < z.scores[j]:
                total += math.exp(a[i] - a[j])
    return math.log(total)


@pytest.mark.parametrize(("make", "similarity"), [(cosent, slow_cosine), (angle, slow_angle)])
@pytest.mark.parametrize("temperature", [0.05, 0.7])
def test_ranking_losses_equal_loops(make, similarity, temperature):
    z = rows(6)
    want = slow_loss(z, similarity, temperature)
    assert make(temperature)(z).loss.item() == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("make", [cosent, angle])
@pytest.mark.parametrize("scores", [[0.5] * 4, [0.5]])
def test_equal_scores_give_0_and_no_gradient(make, scores):
    loss, grads = loss_and_gradients(make(), rows(len(scores), scores))
    assert loss.item() == 0
    assert grads["sentence1"].abs().max().item() == 0


@pytest.mark.parametrize("make", [cosent, angle])
def test_contract(make):
    check_objective(lambda w: make(0.1, world=w), rows, uses=("sentence1", "sentence2"))


def all_pairs(a, scores):
    """The loss as the papers' codes have it, over a table of B × B differences."""
    wrong = (a[:, None] - a).masked_fill(scores[:, None] >= scores, -torch.inf)
    return torch.logsumexp(torch.cat([wrong.flatten(), wrong.new_zeros(1)]), 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kinds", [2, 6, 1000])
@pytest.mark.parametrize("n", [3, 2048])
def test_one_cumulative_sum_equals_the_table_of_all_pairs(n, kinds, dtype):
    g = torch.Generator().manual_seed(n)
    a = (torch.rand(n, generator=g, dtype=torch.float64) * 40 - 20).to(dtype).requires_grad_()
    scores = torch.randint(kinds, (n,), generator=g).to(dtype) / 7
    want = all_pairs(a.double(), scores)
    loss = _log_sum_of_wrong(a, scores)
    assert loss.item() == pytest.approx(want.item(), rel=1e-6, abs=1e-6)
    expected, got = (torch.autograd.grad(x, a)[0] for x in (want, loss))
    assert (got - expected).abs().max() < 1e-6


@pytest.mark.slow
def test_a_large_batch_equals_the_table_of_all_pairs():
    g = torch.Generator().manual_seed(0)
    sides = torch.randn((2, 8192, 8), generator=g, dtype=torch.float64)
    scores = torch.randint(26, (8192,), generator=g).double() / 5
    left, right = (side.clone().requires_grad_() for side in sides)
    objective = cosent(0.05)
    similarity = objective.similarity(unit(left), unit(right))
    want = torch.autograd.grad(all_pairs(similarity / 0.05, scores), (left, right))
    loss = objective(Embeddings.of(scores=scores, sentence1=left, sentence2=right)).loss
    got = torch.autograd.grad(loss, (left, right))
    assert max((x - y).abs().max().item() for x, y in zip(got, want, strict=True)) < 1e-6


def test_memory_grows_with_the_pairs_and_not_with_their_square():
    sizes: list[int] = []
    a, scores = torch.randn(4096, requires_grad=True), torch.rand(4096)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: (sizes.append(x.numel()), x)[1], lambda x: x
    ):
        _log_sum_of_wrong(a, scores).backward()
    assert max(sizes) <= 4097


def test_angle_of_rows_of_odd_width_is_that_of_rows_with_a_zero_more():
    z = rows(6, dim=5)
    wider = {name: torch.nn.functional.pad(x, (0, 1)) for name, x in z.by_name.items()}
    assert angle()(z).loss == angle()(Embeddings.of(scores=z.scores, **wider)).loss


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="needs the gold score of each pair"):
        cosent()(rows(3, scores=None))
    with pytest.raises(ValueError, match="temperature must be > 0 and finite, not 0"):
        cosent(0)
