"""The ratio of losses and counts that rows bring along."""

from __future__ import annotations

import pytest
import torch
from contracts import check_objective

from textcl.objectives.ratio import RatioOfSums
from textcl.types import Embeddings

NAMES = ("first", "second")


def rows(count):
    generator = torch.Generator().manual_seed(0)
    parts = {}
    for name in NAMES:
        counts = torch.randint(0, 4, (16,), generator=generator).double()
        losses = torch.rand(16, generator=generator, dtype=torch.float64) * counts
        parts[name] = torch.stack([losses, counts], 1)[:count]
    return Embeddings.of(**parts)


def test_it_is_the_mean_over_all_terms_of_all_rows():
    z = rows(6)
    losses = sum(float(z[name][i, 0]) for name in NAMES for i in range(6))
    counts = sum(float(z[name][i, 1]) for name in NAMES for i in range(6))
    assert float(RatioOfSums(NAMES)(z).loss) == pytest.approx(losses / counts)


def test_nothing_to_count_costs_nothing_and_has_no_gradient():
    x = torch.zeros(3, 2, requires_grad=True)
    loss = RatioOfSums(["mlm"])(Embeddings.of(mlm=x)).loss
    loss.backward()
    assert loss == 0
    assert torch.isfinite(x.grad).all()


def test_contract():
    check_objective(lambda world: RatioOfSums(NAMES, world), rows, uses=NAMES)
