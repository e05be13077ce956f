"""NT-Xent by positive pairs beside its loop, and what the floor of half precision does to it."""

from __future__ import annotations

import math

import pytest
import torch
from contracts import check_objective, loss_and_gradients
from made_up import cosine, rows

from textcl.objectives.contrastive import nt_xent
from textcl.objectives.nt_xent_pairs import nt_xent_pairs
from textcl.objectives.sup_con import sup_con

LABELS = [0, 1, 0, 2, 1, 0, 3, 3]


def slow_pairs(vectors, labels, temperature, floor=0.0):
    losses = []
    for a, anchor in enumerate(vectors):
        s = [cosine(anchor, other) / temperature for other in vectors]
        negatives = [s[n] for n in range(len(vectors)) if labels[n] != labels[a]]
        for p in range(len(vectors)):
            if p != a and labels[p] == labels[a]:
                share = 1 / (1 + sum(math.exp(x - s[p]) for x in negatives))
                losses.append(-math.log(share + floor))
    return sum(losses) / len(losses)


def one_view(n):
    return rows(n, ("anchor",), labels=LABELS)


@pytest.mark.parametrize(("variant", "floor"), [("exact", 0.0), ("fp16_floor", 6.103515625e-05)])
def test_pairs_equal_loops(variant, floor):
    z = one_view(8)
    objective = nt_xent_pairs(0.1, names=("anchor",), same="labels", variant=variant)
    want = slow_pairs(z["anchor"].tolist(), LABELS, 0.1, floor)
    assert objective(z).loss.item() == pytest.approx(want, rel=1e-12)


def test_two_views_are_simclr():
    z = rows(5)
    (loss, grads), (want, want_grads) = (
        loss_and_gradients(o, z) for o in (nt_xent_pairs(0.1), nt_xent(0.1))
    )
    torch.testing.assert_close(loss, want, rtol=1e-12, atol=0)
    for name in grads:
        torch.testing.assert_close(grads[name], want_grads[name], rtol=1e-10, atol=1e-12)


def test_several_positives_are_not_sup_con():
    z = rows(6, ("anchor",), labels=[0, 0, 0, 1, 1, 1])
    pairs = nt_xent_pairs(0.1, names=("anchor",), same="labels")(z).loss
    assert pairs.item() < sup_con(0.1, names=("anchor",))(z).loss.item()


def test_floor_bounds_the_loss_and_fades_the_gradient():
    z = rows(2, dim=2)
    z = z.with_vectors(
        {
            "anchor": z["anchor"].new_tensor([[1, 0.1], [0, 1]]),
            "positive": z["anchor"].new_tensor([[0, 1], [1, 0]]),
        }
    )
    exact, grads = loss_and_gradients(nt_xent_pairs(0.02), z)
    floored, faded = loss_and_gradients(nt_xent_pairs(0.02, variant="fp16_floor"), z)
    assert exact.item() > 40
    assert floored.item() == pytest.approx(14 * math.log(2), rel=1e-5)
    assert faded["positive"].abs().max() < 1e-6 * grads["positive"].abs().max()


@pytest.mark.parametrize("variant", ["exact", "fp16_floor"])
@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3], [0]])
def test_without_negatives_or_positives_it_is_zero(variant, labels):
    z = rows(len(labels), ("anchor",), labels)
    objective = nt_xent_pairs(0.1, names=("anchor",), same="labels", variant=variant)
    loss, grads = loss_and_gradients(objective, z)
    assert loss.item() == 0
    assert grads["anchor"].abs().max().item() == 0


def test_lonely_class_makes_no_pair():
    z = one_view(4)
    objective = nt_xent_pairs(0.1, names=("anchor",), same="labels")
    want = slow_pairs(z["anchor"].tolist(), LABELS[:4], 0.1)
    assert objective(z).loss.item() == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("variant", ["exact", "fp16_floor"])
@pytest.mark.parametrize("same", ["rows", "labels"])
def test_contract(variant, same, monkeypatch):
    check_objective(
        lambda w: nt_xent_pairs(0.2, same=same, variant=variant, world=w),
        lambda n: rows(n, labels=LABELS),
        uses=("anchor", "positive"),
        monkeypatch=monkeypatch,
    )
