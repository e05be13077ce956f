"""A weighted sum of objectives on one batch."""

from __future__ import annotations

import torch
from contracts import check_objective
from made_up import rows

from textcl.contrast import AllViews, AnchorPositive
from textcl.distributed import ALONE
from textcl.objectives.combine import WeightedSum
from textcl.objectives.contrastive import Contrastive


def make(world):
    return WeightedSum(
        [
            (0.3, Contrastive(AnchorPositive(), 0.1, world=world)),
            (2.0, Contrastive(AllViews(), 0.2, world=world)),
        ]
    )


def test_loss_is_the_weighted_sum_and_every_part_is_logged():
    z, objective = rows(5), make(ALONE)
    first, second = (part(z).loss for part in objective.parts)
    output = objective(z)
    torch.testing.assert_close(output.loss, 0.3 * first + 2.0 * second)
    assert torch.equal(output.terms["loss/Contrastive"], first)
    assert torch.equal(output.terms["loss/Contrastive 2"], second)


def test_contract(monkeypatch):
    check_objective(make, rows, uses=("anchor", "positive"), monkeypatch=monkeypatch)
