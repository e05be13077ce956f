"""InfoNCE, its hard negatives, both directions, NT-Xent and SupCon, each beside slow loops."""

from __future__ import annotations

import math

import pytest
import torch
from contracts import check_objective, loss_and_gradients
from made_up import cosine, rows

from textcl.contrast.masks import MaskDuplicates
from textcl.contrast.pairings import AllViews, AnchorPositive
from textcl.contrast.temperature import LearnableTemperature
from textcl.contrast.transforms import KeepHardest
from textcl.distributed import ALONE
from textcl.objectives.contrastive import Contrastive, nt_xent
from textcl.objectives.sup_con import sup_con
from textcl.objectives.symmetric import symmetric
from textcl.types import Embeddings


def slow_info_nce(anchors, positives, negatives, temperature, weight=0.0):
    total = 0.0
    for i, anchor in enumerate(anchors):
        logits = [cosine(anchor, p) / temperature for p in positives]
        logits += [
            cosine(anchor, n) / temperature + weight * (i == j) for j, n in enumerate(negatives)
        ]
        total += math.log(sum(math.exp(x) for x in logits)) - logits[i]
    return total / len(anchors)


def slow_sup_con(vectors, labels, temperature):
    losses = []
    for i, anchor in enumerate(vectors):
        others = [k for k in range(len(vectors)) if k != i]
        positives = [k for k in others if labels[k] == labels[i]]
        if not positives:
            continue
        s = {k: cosine(anchor, vectors[k]) / temperature for k in others}
        lse = math.log(sum(math.exp(x) for x in s.values()))
        losses.append(-sum(s[p] - lse for p in positives) / len(positives))
    return sum(losses) / len(losses) if losses else 0.0


def test_info_nce_equals_loops():
    z = rows(6)
    loss = Contrastive(AnchorPositive(), 0.1)(z).loss
    want = slow_info_nce(z["anchor"].tolist(), z["positive"].tolist(), [], 0.1)
    assert loss.item() == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_hard_negatives_equal_loops(weight):
    z = rows(5, ("anchor", "positive", "negative"))
    pairing = AnchorPositive(negatives=("negative",), hard_negative_weight=weight)
    a, p, n = (z[name].tolist() for name in ("anchor", "positive", "negative"))
    want = slow_info_nce(a, p, n, 0.2, weight)
    assert Contrastive(pairing, 0.2)(z).loss.item() == pytest.approx(want, rel=1e-12)


def test_symmetric_is_the_mean_of_both_directions():
    z = rows(6)
    a, p = z["anchor"].tolist(), z["positive"].tolist()
    want = (slow_info_nce(a, p, [], 0.1) + slow_info_nce(p, a, [], 0.1)) / 2
    assert symmetric(0.1)(z).loss.item() == pytest.approx(want, rel=1e-12)


def test_only_the_first_direction_sees_hard_negatives():
    z = rows(5, ("anchor", "positive", "negative"))
    a, p, n = (z[name].tolist() for name in ("anchor", "positive", "negative"))
    objective = symmetric(0.2, negatives=("negative",), hard_negative_weight=0.7)
    want = (slow_info_nce(a, p, n, 0.2, 0.7) + slow_info_nce(p, a, [], 0.2)) / 2
    assert objective(z).loss.item() == pytest.approx(want, rel=1e-12)


def test_sup_con_equals_loops_and_skips_the_lonely_class():
    labels = [0, 1, 0, 2, 1, 0]
    z = rows(6, ("anchor",), labels)
    loss = Contrastive(AllViews(("anchor",), same="labels"), 0.3)(z).loss
    assert loss.item() == pytest.approx(slow_sup_con(z["anchor"].tolist(), labels, 0.3), rel=1e-12)


def test_nt_xent_is_sup_con_over_rows():
    z = rows(4)
    vectors = z["anchor"].tolist() + z["positive"].tolist()
    want = slow_sup_con(vectors, [0, 1, 2, 3] * 2, 0.5)
    assert nt_xent(0.5)(z).loss.item() == pytest.approx(want, rel=1e-12)


def test_no_positive_zero_counts_the_lonely_anchor():
    labels = [0, 1, 0, 2, 1, 0]
    z = rows(6, ("anchor",), labels)
    pairing = AllViews(("anchor",), same="labels")
    skip = Contrastive(pairing, 0.3)(z).loss
    zero = Contrastive(pairing, 0.3, no_positive="zero")(z).loss
    assert zero.item() == pytest.approx(skip.item() * 5 / 6, rel=1e-12)


def test_no_positive_nan_spoils_loss_and_gradient():
    z = rows(6, ("anchor",), [0, 1, 0, 2, 1, 0])
    loss, grads = loss_and_gradients(sup_con(0.3, names=("anchor",), no_positive="nan"), z)
    assert loss.isnan()
    assert grads["anchor"].isnan().all()
    whole = rows(4, ("anchor",), [0, 1, 0, 1])
    nan, skip = (
        loss_and_gradients(sup_con(0.3, names=("anchor",), no_positive=policy), whole)
        for policy in ("nan", "skip")
    )
    assert torch.equal(nan[0], skip[0])
    assert torch.equal(nan[1]["anchor"], skip[1]["anchor"])


def test_base_temperature_scales_the_loss():
    z = rows(6, labels=[0, 1, 0, 1, 1, 0])
    plain, scaled = sup_con(0.3)(z).loss, sup_con(0.3, base_temperature=0.07)(z).loss
    assert scaled.item() == pytest.approx(plain.item() * 0.3 / 0.07, rel=1e-12)


def test_base_temperature_reaches_the_gradient_of_a_learned_one():
    z = rows(6, labels=[0, 1, 0, 1, 1, 0])
    temperature = LearnableTemperature(0.3).double()
    objective, scale = sup_con(temperature, base_temperature=0.07), temperature.log_scale

    def at(value) -> torch.Tensor:
        with torch.no_grad():
            scale.fill_(value)
        return objective(z).loss

    at(1.0).backward()
    slope = (at(1.0 + 1e-6) - at(1.0 - 1e-6)).item() / 2e-6
    assert scale.grad.item() == pytest.approx(slope, rel=1e-6)


def test_masked_duplicates_are_no_negatives():
    z = rows(4)
    groups = torch.tensor([7, 8, 7, 9])
    z = Embeddings.of(groups={"anchor": groups, "positive": groups}, **z.by_name)
    loss = Contrastive(AnchorPositive(), 0.1, [MaskDuplicates()])(z).loss
    a, p = z["anchor"].tolist(), z["positive"].tolist()
    want = 0.0
    for i in range(4):
        kept = [j for j in range(4) if j == i or groups[j] != groups[i]]
        logits = {j: cosine(a[i], p[j]) / 0.1 for j in kept}
        want += math.log(sum(math.exp(x) for x in logits.values())) - logits[i]
    assert loss.item() == pytest.approx(want / 4, rel=1e-12)


def test_hard_negative_with_the_positives_text_is_masked():
    z = rows(3, ("anchor", "positive", "negative"))
    groups = {
        "anchor": torch.tensor([1, 2, 3]),
        "positive": torch.tensor([4, 5, 6]),
        "negative": torch.tensor([4, 8, 9]),  # the first is its own positive's text
    }
    z = Embeddings.of(groups=groups, **z.by_name)
    objective = Contrastive(AnchorPositive(negatives=("negative",)), 0.1, [MaskDuplicates()])
    masked = torch.isneginf(objective.table(z).block(torch.arange(3), 1.0).logits)
    assert masked.nonzero().tolist() == [[0, 3]]


def test_keep_hardest_keeps_the_fraction_and_its_ties():
    anchors = torch.eye(3, dtype=torch.float64)
    table = torch.tensor(
        [[1.0, 0, 0], [0.6, 0.8, 0], [0.6, 0.8, 0], [0, 0, 1]], dtype=torch.float64
    )
    z = Embeddings.of(anchor=torch.cat([anchors, anchors[:1]]), positive=table)
    objective = Contrastive(AnchorPositive(), 1.0, [KeepHardest(0.3)])
    kept = ~torch.isneginf(objective.table(z).block(torch.arange(1), 1.0).logits[0])
    assert kept.tolist() == [True, True, True, False]


LABELS = [0, 1, 0, 2, 1, 0, 3, 3]
CASES = {
    "info_nce": (lambda w: Contrastive(AnchorPositive(), 0.2, world=w), rows),
    "hard_negatives": (
        lambda w: Contrastive(
            AnchorPositive(negatives=("negative",), hard_negative_weight=0.5), 0.2, world=w
        ),
        lambda n: rows(n, ("anchor", "positive", "negative")),
    ),
    "masked": (lambda w: Contrastive(AnchorPositive(), 0.2, [MaskDuplicates()], world=w), rows),
    "hardest": (lambda w: Contrastive(AnchorPositive(), 0.2, [KeepHardest(0.5)], world=w), rows),
    "symmetric": (lambda w: symmetric(0.2, world=w), rows),
    "nt_xent": (lambda w: nt_xent(0.2, world=w), rows),
    "sup_con": (
        lambda w: Contrastive(AllViews(same="labels"), 0.2, world=w),
        lambda n: rows(n, labels=LABELS),
    ),
    "sup_con_scaled": (
        lambda w: sup_con(0.2, base_temperature=0.07, no_positive="zero", world=w),
        lambda n: rows(n, labels=LABELS),
    ),
    "learned_temperature": (
        lambda w: Contrastive(AnchorPositive(), LearnableTemperature(0.2).double(), world=w),
        rows,
    ),
    "sup_con_one_view": (
        lambda w: Contrastive(AllViews(("anchor",), same="labels"), 0.2, world=w),
        lambda n: rows(n, ("anchor",), labels=LABELS),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_contract(case, monkeypatch):
    make, make_rows = CASES[case]
    names = tuple(make_rows(2).by_name)
    check_objective(make, make_rows, uses=names, monkeypatch=monkeypatch)


def test_no_positive_at_all_gives_zero_and_no_gradient():
    z = rows(3, ("anchor",), [0, 1, 2])
    loss, grads = loss_and_gradients(
        Contrastive(AllViews(("anchor",), same="labels"), 0.1, world=ALONE), z
    )
    assert loss.item() == 0
    assert grads["anchor"].abs().max().item() == 0


def test_temperature_must_be_positive():
    with pytest.raises(ValueError, match="temperature must be > 0 and finite, not 0"):
        Contrastive(AnchorPositive(), 0)
