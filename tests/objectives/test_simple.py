"""Losses without a softmax, and the hard ones, beside their loops."""

from __future__ import annotations

import math

import pytest
import torch
from contracts import check_objective, loss_and_gradients
from made_up import cosine, log_sum_exp, rows

from textcl.contrast.pairings import AllViews, AnchorPositive
from textcl.contrast.row_losses import negatives_only, positives_only
from textcl.objectives.contrastive import Contrastive
from textcl.objectives.simple import hard_contrastive, simple


def kept(similarities, i, fraction):
    """The hardest negatives of row i."""
    others = [j for j in range(len(similarities)) if j != i]
    ranked = sorted((similarities[j] for j in others), reverse=True)
    if not ranked:
        return []
    threshold = ranked[max(1, math.ceil(fraction * len(ranked) - 1e-9)) - 1]
    return [j for j in others if similarities[j] >= threshold - 1e-12]


def slow(a, p, fraction, row_loss):
    losses = []
    for i, anchor in enumerate(a):
        s = [cosine(anchor, other) for other in p]
        losses.append(row_loss(s[i], [s[j] for j in kept(s, i, fraction)]))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("fraction", [None, 0.1, 0.4, 1.0])
def test_simple_equals_loops(fraction):
    z = rows(7)
    want = slow(
        z["anchor"].tolist(),
        z["positive"].tolist(),
        fraction or 1.0,
        lambda s, n: -s + 0.3 * sum(n),
    )
    assert simple(0.3, hardest=fraction)(z).loss.item() == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("fraction", [0.1, 0.4, 1.0])
def test_hard_contrastive_equals_loops(fraction):
    z = rows(7)

    def row_loss(s, negatives):
        return log_sum_exp(x / 0.3 for x in [s, *negatives]) - s / 0.3

    want = slow(z["anchor"].tolist(), z["positive"].tolist(), fraction, row_loss)
    assert hard_contrastive(0.3, fraction)(z).loss.item() == pytest.approx(want, rel=1e-12)


def test_all_negatives_give_back_info_nce():
    z = rows(6)
    want = Contrastive(AnchorPositive(), 0.1)(z).loss
    torch.testing.assert_close(hard_contrastive(0.1, 1.0)(z).loss, want, rtol=1e-15, atol=0)


def test_batch_of_one_keeps_the_positive_of_the_simple_loss():
    z = rows(1)
    want = -cosine(z["anchor"][0].tolist(), z["positive"][0].tolist())
    assert simple(0.3)(z).loss.item() == pytest.approx(want, rel=1e-12)
    assert hard_contrastive(0.3, 0.5)(z).loss.item() == 0


def test_simple_counts_a_weighted_negative_as_often_as_its_weight():
    z = rows(3, ("anchor", "positive", "negative"))
    pairing = AnchorPositive(negatives=("negative",), hard_negative_weight=math.log(2.5))
    a, p, n = (z[name].tolist() for name in ("anchor", "positive", "negative"))
    want = 0.0
    for i in range(3):
        pushes = [cosine(a[i], p[j]) for j in range(3) if j != i]
        pushes += [cosine(a[i], n[j]) * (2.5 if i == j else 1) for j in range(3)]
        want += -cosine(a[i], p[i]) + 0.3 * sum(pushes)
    assert simple(0.3, pairing)(z).loss.item() == pytest.approx(want / 3, rel=1e-12)


def test_halves_of_nt_xent_equal_loops():
    z = rows(4)
    vectors = z["anchor"].tolist() + z["positive"].tolist()
    pull = push = 0.0
    for i in range(8):
        partner = (i + 4) % 8
        pull -= cosine(vectors[i], vectors[partner]) / 0.2
        push += log_sum_exp(
            cosine(vectors[i], vectors[k]) / 0.2 for k in range(8) if k not in (i, partner)
        )
    for row_loss, want in ((positives_only, pull / 8), (negatives_only, push / 8)):
        loss = Contrastive(AllViews(), 0.2, row_loss=row_loss)(z).loss
        assert loss.item() == pytest.approx(want, rel=1e-12)


def test_halves_are_zero_where_there_is_nothing():
    alone, grads = loss_and_gradients(
        Contrastive(AllViews(), 0.2, row_loss=negatives_only), rows(1)
    )
    assert alone.item() == 0
    assert all(g.abs().max() == 0 for g in grads.values())
    lonely = rows(3, ("anchor",), [0, 1, 2])
    pairing = AllViews(("anchor",), same="labels")
    assert Contrastive(pairing, 0.2, row_loss=positives_only)(lonely).loss.item() == 0
    assert simple(0.3, pairing)(lonely).loss.item() == 0


CASES = {
    "simple": lambda w: simple(0.3, world=w),
    "hard_simple": lambda w: simple(0.3, hardest=0.4, world=w),
    "hard": lambda w: hard_contrastive(0.3, 0.4, world=w),
    "simple_all_views": lambda w: simple(0.3, AllViews(), world=w),
    "positives": lambda w: Contrastive(AllViews(), 0.2, row_loss=positives_only, world=w),
    "negatives": lambda w: Contrastive(AllViews(), 0.2, row_loss=negatives_only, world=w),
}


@pytest.mark.parametrize("case", CASES)
def test_contract(case, monkeypatch):
    check_objective(CASES[case], rows, uses=("anchor", "positive"), monkeypatch=monkeypatch)
