"""LCL beside a double loop, its variants, and the case of several labels."""

from __future__ import annotations

import math

import pytest
import torch
from contracts import check_objective, loss_and_gradients
from double_loop import double_loop_lcl
from made_up import cosine, rows
from torch import nn

from textcl.contrast.transforms import KeepHardest
from textcl.objectives.label_aware import LabelAware
from textcl.objectives.sup_con import sup_con
from textcl.types import Embeddings

LABELS = [0, 1, 0, 2, 1, 0, 3, 3]
NAMES = ("anchor", "positive", "weigher_anchor", "weigher_positive")
ONE_VIEW = {"names": ("anchor",), "weighers": ("weigher",)}


def views(n):
    return rows(n, NAMES, labels=LABELS)


def softmax(logits):
    total = sum(math.exp(x) for x in logits)
    return [math.exp(x) / total for x in logits]


def slow_lcl(vectors, logits, labels, temperature, variant):
    losses = []
    for i in range(len(vectors)):
        w, others = softmax(logits[i]), [k for k in range(len(vectors)) if k != i]
        e = {k: math.exp(cosine(vectors[i], vectors[k]) / temperature) for k in others}
        against = sum(w[labels[k]] * e[k] for k in others)
        positives = [p for p in others if labels[p] == labels[i]]
        if not positives:
            continue
        own = w[labels[i]]
        if variant == "paper":
            losses.append(sum(-math.log(own * e[p] / against) for p in positives) / len(positives))
        else:
            losses.append(sum(-own * math.log(e[p] / against) for p in positives) / len(positives))
    return sum(losses) / len(losses)


def both_views(z):
    vectors = z["anchor"].tolist() + z["positive"].tolist()
    return vectors, z["weigher_anchor"].tolist() + z["weigher_positive"].tolist()


@pytest.mark.parametrize("variant", ["official", "paper"])
def test_label_aware_equals_loops(variant):
    z = views(8)
    want = slow_lcl(*both_views(z), LABELS * 2, 0.3, variant)
    assert LabelAware(0.3, variant=variant)(z).loss.item() == pytest.approx(want, rel=1e-12)


def test_uniform_weights_give_sup_con():
    z = views(8)
    classes, flat = 5, torch.zeros((8, 5), dtype=torch.float64)
    vectors = {**z.by_name, "weigher_anchor": flat, "weigher_positive": flat}
    z = z.with_vectors(vectors)
    want = sup_con(0.3)(z).loss.item()
    paper, official = (LabelAware(0.3, variant=v)(z).loss.item() for v in ("paper", "official"))
    assert paper == pytest.approx(want, rel=1e-12)
    assert official == pytest.approx((want - math.log(classes)) / classes, rel=1e-12)


def test_one_pair_gives_w_ln_w():
    z = rows(1, NAMES, labels=[2])
    w = [softmax(z[name][0].tolist())[2] for name in NAMES[2:]]
    want = sum(x * math.log(x) for x in w) / 2
    assert LabelAware(0.3)(z).loss.item() == pytest.approx(want, rel=1e-12)


def test_confusable_negatives_count_more():
    """Raising the confidence in a negative's class raises what is asked of that negative."""
    z = rows(3, ("anchor", "weigher"), labels=[0, 0, 1])

    def pull_on_the_negative(confidence):
        weigher = z["weigher"].clone()
        weigher[:, 1] = confidence
        changed = z.with_vectors({"anchor": z["anchor"], "weigher": weigher})
        objective = LabelAware(0.3, **ONE_VIEW, variant="paper")
        return loss_and_gradients(objective, changed)[1]["anchor"][2].norm()

    assert pull_on_the_negative(2.0) > pull_on_the_negative(-2.0)


def test_lonely_class_follows_the_policy():
    z = rows(4, ("anchor", "weigher"), labels=[0, 1, 0, 2])
    want = slow_lcl(z["anchor"].tolist(), z["weigher"].tolist(), LABELS[:4], 0.3, "official")
    skip, zero, nan = (
        LabelAware(0.3, **ONE_VIEW, no_positive=policy)(z).loss.item()
        for policy in ("skip", "zero", "nan")
    )
    assert skip == pytest.approx(want, rel=1e-12)
    assert zero == pytest.approx(want / 2, rel=1e-12)
    assert math.isnan(nan)


@pytest.mark.parametrize("labels", [[0], [0, 1, 2]])
@pytest.mark.parametrize("variant", ["official", "paper"])
def test_no_positive_at_all_is_zero_without_gradient(labels, variant):
    z = rows(len(labels), ("anchor", "weigher"), labels)
    loss, grads = loss_and_gradients(LabelAware(0.3, **ONE_VIEW, variant=variant), z)
    assert loss.item() == 0
    assert all(g.abs().max() == 0 for g in grads.values())


def test_all_rows_of_one_class_equal_loops():
    z = rows(5, ("anchor", "weigher"), [3] * 5)
    want = slow_lcl(z["anchor"].tolist(), z["weigher"].tolist(), [3] * 5, 0.3, "official")
    assert LabelAware(0.3, **ONE_VIEW)(z).loss.item() == pytest.approx(want, rel=1e-12)


def test_detached_weights_keep_the_value_and_lose_the_gradient():
    z = views(8)
    free, grads = loss_and_gradients(LabelAware(0.3), z)
    held, no_grads = loss_and_gradients(LabelAware(0.3, detach_weights=True), z)
    assert torch.equal(free, held)
    assert grads["weigher_anchor"].abs().max() > 0
    assert no_grads["weigher_anchor"].abs().max() == 0


def test_confident_weights_do_not_underflow():
    z = rows(4, ("anchor", "weigher"), [0, 0, 1, 1])
    logits = torch.tensor([[0.0, 400.0]] * 4)
    vectors = {"anchor": z["anchor"].float(), "weigher": logits}
    loss, grads = loss_and_gradients(
        LabelAware(0.3, **ONE_VIEW, variant="paper"), z.with_vectors(vectors)
    )
    assert 199 < loss.item() < 205  # half of the anchors give their own class e^-400
    assert all(torch.isfinite(g).all() for g in grads.values())


def test_a_head_of_its_own_makes_the_logits():
    z = rows(6, ("anchor",), LABELS)
    head = nn.Linear(5, 4).double()
    objective = LabelAware(0.3, ("anchor",), ("anchor",), head)
    logits = head(z["anchor"]).tolist()
    want = slow_lcl(z["anchor"].tolist(), logits, LABELS[:6], 0.3, "official")
    assert objective(z).loss.item() == pytest.approx(want, rel=1e-12)
    objective(z).loss.backward()
    assert head.weight.grad.abs().max() > 0


def one_hot(labels, classes):
    return torch.eye(classes, dtype=torch.float64)[torch.tensor(labels)]


@pytest.mark.parametrize("variant", ["official", "paper"])
def test_one_hot_labels_equal_class_ids(variant):
    z = views(8)
    several = Embeddings.of(labels=one_hot(LABELS, 5), **z.by_name)
    (loss, grads), (want, want_grads) = (
        loss_and_gradients(LabelAware(0.3, variant=variant), x) for x in (several, z)
    )
    torch.testing.assert_close(loss, want, rtol=1e-12, atol=0)
    for name in grads:
        torch.testing.assert_close(grads[name], want_grads[name], rtol=1e-10, atol=1e-12)


def test_several_labels_equal_loops():
    z = rows(4, ("anchor", "weigher"))
    sets = [{0, 1}, {1}, {0, 1, 2}, set()]
    hot = torch.tensor([[float(c in s) for c in range(5)] for s in sets], dtype=torch.float64)
    a, g = z["anchor"].tolist(), z["weigher"].tolist()
    losses = []
    for i in range(3):
        w = softmax(g[i])
        weight = [sum(w[c] for c in s or range(5)) / len(s or range(5)) for s in sets]
        e = [math.exp(cosine(a[i], x) / 0.3) for x in a]
        against = sum(weight[k] * e[k] for k in range(4) if k != i)
        overlap = [
            0.0 if k == i else len(sets[i] & sets[k]) / len(sets[i] | sets[k]) for k in range(4)
        ]
        share = [x / sum(overlap) for x in overlap]
        losses.append(-sum(t * math.log(weight[k] * e[k] / against) for k, t in enumerate(share)))
    z = Embeddings.of(labels=hot, **z.by_name)
    loss = LabelAware(0.3, **ONE_VIEW, variant="paper")(z).loss
    assert loss.item() == pytest.approx(sum(losses) / 3, rel=1e-12)


def test_transforms_see_the_weighed_table():
    z = rows(6, ("anchor", "weigher"), LABELS)
    objective = LabelAware(0.3, **ONE_VIEW, transforms=[KeepHardest(0.1)])
    block = objective.table(z).block(torch.arange(1), 0.3)
    assert block.negatives.sum() == 1


def test_every_view_needs_its_weigher():
    with pytest.raises(ValueError, match="every view needs its weigher"):
        LabelAware(0.3, ("anchor", "positive"), ("weigher",))


@pytest.mark.parametrize("variant", ["official", "paper"])
def test_contract(variant, monkeypatch):
    check_objective(
        lambda w: LabelAware(0.3, variant=variant, world=w),
        views,
        uses=NAMES,
        monkeypatch=monkeypatch,
    )


def several_labels(n):
    hot = torch.rand((64, 5), generator=torch.Generator().manual_seed(3)) > 0.6
    return Embeddings.of(labels=hot[:n].double(), **rows(n, NAMES).by_name)


@pytest.mark.parametrize("variant", ["official", "paper"])
def test_contract_with_several_labels(variant, monkeypatch):
    check_objective(
        lambda w: LabelAware(0.3, variant=variant, world=w),
        several_labels,
        uses=NAMES,
        monkeypatch=monkeypatch,
    )


@pytest.mark.parametrize("labels", [LABELS[:2] * 8, [0] * 6 + [1] * 2 + [4] * 2])
def test_label_aware_equals_the_double_loop_that_it_is_timed_against(labels):
    z = rows(len(labels), ("anchor", "weigher"), labels)
    loss, grads = loss_and_gradients(LabelAware(0.3, **ONE_VIEW), z)
    x, g = (z[name].clone().requires_grad_() for name in ("anchor", "weigher"))
    want = double_loop_lcl(x, g, torch.tensor(labels), 0.3)
    want.backward()
    torch.testing.assert_close(loss, want)
    torch.testing.assert_close(grads["anchor"], x.grad)
    torch.testing.assert_close(grads["weigher"], g.grad)
