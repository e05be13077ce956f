"""Whole loss everywhere, gradient into the own rows only: 1/N of the true gradient after averaging."""

from __future__ import annotations

import pytest
import torch
from contracts import loss_and_gradients, on_ranks, rows_of, with_leaves
from made_up import rows

from textcl.contrast.pairings import AllViews, AnchorPositive
from textcl.objectives.contrastive import Contrastive
from textcl.objectives.own_gradient import OwnGradient

OBJECTIVES = {
    "info_nce": Contrastive(AnchorPositive(), 0.1),
    "sup_con": Contrastive(AllViews(same="labels"), 0.1),
}


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("shares", [[slice(0, 3), slice(3, 6)], [slice(0, 4), slice(4, 6)]])
def test_every_rank_has_the_loss_and_its_rows_the_gradient_of_one_process(name, shares):
    objective, z = OBJECTIVES[name], rows(6, labels=[0, 1, 0, 2, 1, 0])
    want, want_grads = loss_and_gradients(objective, z)

    def work(world):
        own, leaves = with_leaves(rows_of(z, shares[world.rank]))
        loss = OwnGradient(objective, world)(own).loss
        return loss, dict(
            zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True)
        )

    for share, (loss, grads) in zip(shares, on_ranks(work, 2), strict=True):
        torch.testing.assert_close(loss.detach(), want)
        for view, gradient in grads.items():
            torch.testing.assert_close(gradient, want_grads[view][share])


def test_averaged_over_ranks_the_parameter_gradient_is_a_share():
    """With embeddings x·w of one parameter w, the mean over ranks is half of what one process gets."""
    z, w = rows(6), torch.ones(5, dtype=torch.float64, requires_grad=True)
    objective = OBJECTIVES["info_nce"]

    def gradient(objective, part):
        vectors = {name: x * w for name, x in part.by_name.items()}
        return torch.autograd.grad(objective(part.with_vectors(vectors)).loss, w)[0]

    parts = [rows_of(z, slice(0, 3)), rows_of(z, slice(3, 6))]
    shares = on_ranks(lambda x: gradient(OwnGradient(objective, x), parts[x.rank]), 2)
    torch.testing.assert_close((shares[0] + shares[1]) / 2, gradient(objective, z) / 2)
