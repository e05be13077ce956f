"""Multi-Similarity beside loops over every triplet."""

from __future__ import annotations

import math

import pytest
import torch
from contracts import check_objective
from made_up import cosine, rows

from textcl.objectives.multi_similarity import MultiSimilarity

LABELS = [0, 0, 1, 1, 2, 0, 1, 3]
WANTED = {
    "none": lambda gap: True,
    "all": lambda gap: gap <= 0.4,
    "hard": lambda gap: gap <= 0,
    "semihard": lambda gap: 0 < gap <= 0.4,
    "easy": lambda gap: gap > 0.4,
}


def made(n):
    return rows(n, names=("anchor",), labels=LABELS)


def slow(z, miner, alpha, beta, base):
    x, n, total = z["anchor"].tolist(), range(len(z)), 0.0
    distance = [[math.sqrt(2 - 2 * min(1.0, cosine(a, b))) for b in x] for a in x]
    for a in n:
        same = [p for p in n if p != a and LABELS[p] == LABELS[a]]
        other = [m for m in n if LABELS[m] != LABELS[a]]
        kept = [
            (p, m) for p in same for m in other if WANTED[miner](distance[a][m] - distance[a][p])
        ]
        positives, negatives = {p for p, _ in kept}, {m for _, m in kept}
        if miner == "none":
            positives, negatives = set(same), set(other)
        pull = sum(math.exp(-alpha * (cosine(x[a], x[p]) - base)) for p in positives)
        push = sum(math.exp(beta * (cosine(x[a], x[m]) - base)) for m in negatives)
        total += math.log(1 + pull) / alpha + math.log(1 + push) / beta
    return total / len(z)


@pytest.mark.parametrize("miner", WANTED)
def test_loss_is_that_of_loops(miner):
    z = made(8)
    objective = MultiSimilarity(2.0, 10.0, 0.4, miner=miner, miner_margin=0.4)
    assert objective(z).loss.item() == pytest.approx(slow(z, miner, 2.0, 10.0, 0.4), rel=1e-12)


def test_batch_without_a_pair_has_no_gradient():
    z = made(1)
    loss = MultiSimilarity()(z.with_vectors({"anchor": z["anchor"].requires_grad_()})).loss
    assert loss.item() == 0
    loss.backward()


@pytest.mark.parametrize("miner", ["none", "all"])
def test_contract(miner, monkeypatch):
    check_objective(
        lambda world: MultiSimilarity(2.0, 10.0, miner=miner, miner_margin=1.0, world=world),
        made,
        uses=("anchor",),
        monkeypatch=monkeypatch,
    )


def test_two_views_are_one_set_of_rows():
    z = rows(4, labels=[0, 1, 2, 3])
    both = torch.cat([z["anchor"], z["positive"]])
    one = type(z).of(labels=torch.tensor([0, 1, 2, 3] * 2), anchor=both)
    names = ("anchor", "positive")
    assert MultiSimilarity(names=names)(z).loss == pytest.approx(MultiSimilarity()(one).loss)
