"""A weighted sum of objectives on one batch."""

from __future__ import annotations

import torch
from contracts import check_objective
from made_up import rows

from textcl.contrast import AllViews, AnchorPositive
from textcl.distributed import ALONE
from textcl.objectives.combine import Alternate, WeightedSum
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


def test_objectives_take_turns_and_a_state_remembers_whose_it_is():
    z = rows(5)
    first, second = Contrastive(AnchorPositive(), 0.1), Contrastive(AllViews(), 0.2)
    objective = Alternate([(1.0, first), (2.0, second)])
    losses = [objective(z).loss for _ in range(3)]
    expected = [first(z).loss, 2.0 * second(z).loss, first(z).loss]
    assert all(map(torch.equal, losses, expected))
    other = Alternate([(1.0, first), (2.0, second)])
    other.load_state_dict(objective.state_dict())
    assert torch.equal(other(z).loss, expected[1])
