"""A weighted sum of objectives on one batch."""

from __future__ import annotations

from dataclasses import replace

import torch
from contracts import check_objective
from made_up import rows

from textcl.contrast.masks import MaskDuplicates
from textcl.contrast.pairings import AllViews, AnchorPositive
from textcl.distributed import ALONE
from textcl.objectives.combine import Alternate, Projected, WeightedSum, mlp
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


def projected(world):
    projector, g = mlp(5, 3).double(), torch.Generator().manual_seed(2)  # ranks are threads here
    with torch.no_grad():
        for parameter in projector.parameters():
            parameter.normal_(generator=g)
    inner = Contrastive(AllViews(("projected_anchor", "projected_positive")), 0.3, world=world)
    return Projected(projector, inner)


def test_a_projected_objective_reads_projections_and_their_texts():
    z, objective = rows(5), projected(ALONE)
    vectors = {name: objective.projector(z[name]) for name in ("anchor", "positive")}
    want = Contrastive(AllViews(), 0.3)(z.with_vectors(vectors)).loss
    assert torch.equal(objective(z).loss, want)
    inner = Contrastive(AnchorPositive(positive="projected_positive"), 0.3, [MaskDuplicates()])
    seen = Projected(torch.nn.Identity(), inner, ("positive",))
    groups = {"anchor": torch.tensor([0, 0, 1, 2, 3]), "positive": torch.tensor([0, 0, 1, 2, 3])}
    same = replace(z, groups=groups)
    want = Contrastive(AnchorPositive(), 0.3, [MaskDuplicates()])(same).loss
    assert torch.equal(seen(same).loss, want)


def test_contract_of_a_projected_objective(monkeypatch):
    def contiguous(n):  # or a matrix product would round strided rows otherwise than copies of them
        z = rows(n)
        return z.with_vectors({name: x.contiguous() for name, x in z.by_name.items()})

    check_objective(projected, contiguous, uses=("anchor", "positive"), monkeypatch=monkeypatch)


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
