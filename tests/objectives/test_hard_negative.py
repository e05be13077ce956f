"""Debiased and hard-negative losses beside the formula in plain exponentials."""

from __future__ import annotations

import math

import pytest
import torch
from contracts import check_objective, loss_and_gradients
from made_up import cosine, rows

from textcl.contrast.pairings import AllViews
from textcl.contrast.temperature import LearnableTemperature
from textcl.objectives.contrastive import nt_xent
from textcl.objectives.hard_negative import HardNegative
from textcl.schedule import Annealed
from textcl.types import LossOutput

PRIORS_AND_BETAS = [(0.0, 0.0), (0.1, 0.0), (0.1, 0.5), (0.1, 2.0), (0.9, 1.0)]


def slow_hard_negative(a, p, t, prior, beta):
    vectors, half, total = a + p, len(a), 0.0
    for i, anchor in enumerate(vectors):
        partner = (i + half) % (2 * half)
        others = [k for k in range(2 * half) if k not in (i, partner)]
        positive = math.exp(cosine(anchor, vectors[partner]) / t)
        n = [math.exp(cosine(anchor, vectors[k]) / t) for k in others]
        hard = sum(x**beta * x for x in n) / (sum(x**beta for x in n) / len(n))
        against = max((hard - prior * len(n) * positive) / (1 - prior), len(n) * math.exp(-1 / t))
        total -= math.log(positive / (positive + against))
    return total / (2 * half)


@pytest.mark.parametrize(("prior", "beta"), PRIORS_AND_BETAS)
def test_hard_negative_equals_loops(prior, beta):
    z = rows(6)
    want = slow_hard_negative(z["anchor"].tolist(), z["positive"].tolist(), 0.5, prior, beta)
    loss = HardNegative(AllViews(), 0.5, prior, beta)(z).loss
    assert loss.item() == pytest.approx(want, rel=1e-12)


def test_without_prior_and_beta_it_is_nt_xent():
    z = rows(6)
    easy, grads = loss_and_gradients(HardNegative(AllViews(), 0.5, 0.0, 0.0), z)
    want, want_grads = loss_and_gradients(nt_xent(0.5), z)
    torch.testing.assert_close(easy, want, rtol=1e-12, atol=0)
    for name in grads:
        torch.testing.assert_close(grads[name], want_grads[name], rtol=1e-10, atol=1e-12)


def test_where_the_floor_holds_only_the_positive_has_a_gradient():
    z = rows(6)
    z = z.with_vectors({"anchor": z["anchor"], "positive": z["anchor"] + 0.1 * z["positive"]})

    class Floored(torch.nn.Module):
        def forward(self, z):
            s = torch.cosine_similarity(z["anchor"], z["positive"]) / 0.5
            return LossOutput(torch.nn.functional.softplus(math.log(10) - 1 / 0.5 - s).mean())

    loss, grads = loss_and_gradients(HardNegative(AllViews(), 0.5, prior=0.9), z)
    want, want_grads = loss_and_gradients(Floored(), z)
    torch.testing.assert_close(loss, want, rtol=1e-12, atol=0)
    for name in grads:
        torch.testing.assert_close(grads[name], want_grads[name], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("prior", "beta"), PRIORS_AND_BETAS)
def test_batch_of_one_is_zero_without_gradient(prior, beta):
    loss, grads = loss_and_gradients(HardNegative(AllViews(), 0.5, prior, beta), rows(1))
    assert loss.item() == 0
    assert all(g.abs().max() == 0 for g in grads.values())


def test_single_precision_survives_a_small_temperature():
    z = rows(6)
    single = z.with_vectors({name: x.float() for name, x in z.by_name.items()})
    objective = HardNegative(AllViews(), 0.005, 0.1, 1.0)
    loss, grads = loss_and_gradients(objective, single)
    assert all(torch.isfinite(g).all() for g in grads.values())
    torch.testing.assert_close(loss.double(), objective(z).loss, rtol=1e-5, atol=1e-5)


def test_gradient_of_a_learned_temperature_is_its_slope():
    z = rows(6)
    temperature = LearnableTemperature(0.5).double()
    objective, scale = HardNegative(AllViews(), temperature, 0.3, 1.0), temperature.log_scale

    def at(value) -> torch.Tensor:
        with torch.no_grad():
            scale.fill_(value)
        return objective(z).loss

    at(0.7).backward()
    slope = (at(0.7 + 1e-6) - at(0.7 - 1e-6)).item() / 2e-6
    assert scale.grad.item() == pytest.approx(slope, rel=1e-6)


def test_annealed_beta_falls_in_equal_steps_to_zero():
    beta = Annealed(1.0, stages=3)
    seen = []
    for progress in (0.0, 0.3, 0.34, 0.6, 0.7, 1.0):
        beta.move(progress)
        seen.append(beta())
    assert seen == [1.0, 1.0, 0.5, 0.5, 0.0, 0.0]
    z, annealed = rows(5), HardNegative(AllViews(), 0.5, 0.1, beta)
    assert torch.equal(annealed(z).loss, HardNegative(AllViews(), 0.5, 0.1, 0.0)(z).loss)


def test_prior_must_be_a_share():
    with pytest.raises(ValueError, match=r"prior must be in \[0, 1\), not 1"):
        HardNegative(AllViews(), 0.5, prior=1)


@pytest.mark.parametrize(("prior", "beta"), PRIORS_AND_BETAS[:4])
def test_contract(prior, beta, monkeypatch):
    check_objective(
        lambda w: HardNegative(AllViews(), 0.5, prior, beta, world=w),
        rows,
        uses=("anchor", "positive"),
        monkeypatch=monkeypatch,
    )


def test_contract_with_labels(monkeypatch):
    check_objective(
        lambda w: HardNegative(AllViews(same="labels"), 0.5, 0.1, 1.0, world=w),
        lambda n: rows(n, labels=[0, 1, 0, 2, 1, 0]),
        uses=("anchor", "positive"),
        monkeypatch=monkeypatch,
    )
