"""BYOL and SimSiam beside loops; their predictor."""

from __future__ import annotations

import math

import pytest
import torch
from contracts import check_objective, loss_and_gradients
from torch import nn

from textcl.objectives.byol import Byol, SimSiam
from textcl.objectives.predictor import Predictor
from textcl.types import Embeddings

VIEWS = ("anchor", "positive", "anchor_target", "positive_target")


def rows(n, names=VIEWS):
    g = torch.Generator().manual_seed(0)
    table = torch.randn((64, 4, 5), generator=g, dtype=torch.float64)
    return Embeddings.of(**{name: table[:n, VIEWS.index(name)] for name in names})


def two_views(n):
    return rows(n, ("anchor", "positive"))


def predictor(norm="layer"):
    torch.manual_seed(0)
    return Predictor(5, 7, norm=norm).double()


def slow_mean_cosine(predictions, targets):
    cosines = [
        sum(x * y for x, y in zip(p, t, strict=True)) / (math.hypot(*p) * math.hypot(*t))
        for p, t in zip(predictions.tolist(), targets.tolist(), strict=True)
    ]
    return sum(cosines) / len(cosines)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_byol_equals_loops_summed_over_both_directions(norm):
    z, head = rows(6), predictor(norm)
    there = 2 - 2 * slow_mean_cosine(head(z["anchor"]), z["positive_target"])
    back = 2 - 2 * slow_mean_cosine(head(z["positive"]), z["anchor_target"])
    assert Byol(head)(z).loss.item() == pytest.approx(there + back, rel=1e-12)
    one = Byol(head, pairs=[("anchor", "positive_target")])
    assert one(z).loss.item() == pytest.approx(there, rel=1e-12)


def test_sim_siam_equals_loops_averaged_over_both_directions():
    z, head = two_views(6), predictor()
    there = slow_mean_cosine(head(z["anchor"]), z["positive"])
    back = slow_mean_cosine(head(z["positive"]), z["anchor"])
    assert SimSiam(head)(z).loss.item() == pytest.approx(-(there + back) / 2, rel=1e-12)


def test_sim_siam_stops_the_gradient_at_the_target():
    z, head = two_views(4), predictor()
    _, grads = loss_and_gradients(SimSiam(head), z)
    anchor = z["anchor"].clone().requires_grad_()
    predicted = torch.nn.functional.normalize(head(anchor), dim=1)
    target = torch.nn.functional.normalize(z["positive"], dim=1)
    (-(predicted * target).sum(1).mean() / 2).backward()
    torch.testing.assert_close(grads["anchor"], anchor.grad)


def test_targets_have_no_gradient():
    _, grads = loss_and_gradients(Byol(predictor()), rows(4))
    assert grads["anchor_target"].abs().max().item() == 0
    assert grads["positive_target"].abs().max().item() == 0


def test_predictor_normalises_over_the_batch_or_over_the_row():
    x = two_views(6)["anchor"]
    alone = predictor("layer")
    torch.testing.assert_close(alone(x)[:2], alone(x[:2]))
    together = predictor("batch")
    assert not torch.allclose(together(x)[:2], together(x[:2]))
    inwards = together.inwards(x)
    standard = (inwards - inwards.mean(0)) / (inwards.var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(together(x), together.outwards(standard.relu()))


def test_predictor_with_batch_norm_refuses_one_row():
    with pytest.raises(ValueError, match='at least 2 rows in a batch; use norm="layer"'):
        predictor("batch")(two_views(1)["anchor"])


def test_spread_shows_a_collapse():
    g = torch.Generator().manual_seed(0)
    healthy = torch.randn((4000, 16), generator=g)
    collapsed = torch.ones(4000, 16)
    spreads = [
        SimSiam(nn.Identity())(Embeddings.of(anchor=x, positive=x)).terms["spread"].item()
        for x in (healthy, collapsed)
    ]
    assert spreads[0] == pytest.approx(1 / 4, rel=0.02)
    assert spreads[1] == pytest.approx(0, abs=1e-6)


def test_contract_of_byol():
    head = predictor()
    check_objective(lambda w: Byol(head, world=w), rows, uses=("anchor", "positive"))


def test_contract_of_sim_siam():
    head = predictor()
    check_objective(lambda w: SimSiam(head, world=w), two_views, uses=("anchor", "positive"))
