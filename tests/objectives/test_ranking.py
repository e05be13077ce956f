"""CoSENT and AnglE beside loops over pairs of pairs."""

from __future__ import annotations

import math

import pytest
import torch
from contracts import check_objective, loss_and_gradients

from textcl.objectives.ranking import angle, cosent
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


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="needs the gold score of each pair"):
        cosent()(rows(3, scores=None))
    with pytest.raises(ValueError, match="AnglE halves its rows, which have 5 dimensions"):
        angle()(rows(3, dim=5))
    with pytest.raises(ValueError, match="temperature must be > 0, not 0"):
        cosent(0)
