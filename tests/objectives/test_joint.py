"""One softmax over four directions beside its loop."""

from __future__ import annotations

import math

import pytest
import torch
from contracts import check_objective, loss_and_gradients
from made_up import cosine, log_sum_exp, rows

from textcl.contrast.masks import MaskDuplicates
from textcl.objectives.joint import JointDirections
from textcl.types import Embeddings


def slow_joint(a, p, temperature, allowed=lambda i, j: True):
    total = 0.0
    for i in range(len(a)):
        others = [j for j in range(len(a)) if j != i and allowed(i, j)]
        terms = [cosine(a[i], p[j]) for j in [i, *others]] + [cosine(a[i], a[j]) for j in others]
        terms += [cosine(p[i], a[j]) for j in [i, *others]] + [cosine(p[i], p[j]) for j in others]
        total += log_sum_exp(x / temperature for x in terms) - cosine(a[i], p[i]) / temperature
    return total / len(a)


def test_joint_equals_loops():
    z = rows(6)
    want = slow_joint(z["anchor"].tolist(), z["positive"].tolist(), 0.2)
    assert JointDirections(0.2)(z).loss.item() == pytest.approx(want, rel=1e-12)


def test_batch_of_one_is_ln_2_without_gradient():
    loss, grads = loss_and_gradients(JointDirections(0.2), rows(1))
    assert loss.item() == pytest.approx(math.log(2), rel=1e-15)
    assert all(g.abs().max() < 1e-15 for g in grads.values())


def test_duplicates_are_masked_in_all_directions():
    z = rows(4)
    groups = torch.tensor([7, 8, 7, 9])
    z = Embeddings.of(groups={"anchor": groups, "positive": groups}, **z.by_name)
    a, p = z["anchor"].tolist(), z["positive"].tolist()
    want = slow_joint(a, p, 0.2, lambda i, j: groups[i] != groups[j])
    loss = JointDirections(0.2, transforms=[MaskDuplicates()])(z).loss
    assert loss.item() == pytest.approx(want, rel=1e-12)


def test_contract(monkeypatch):
    check_objective(
        lambda w: JointDirections(0.2, world=w),
        rows,
        uses=("anchor", "positive"),
        monkeypatch=monkeypatch,
    )
