"""Triplet losses beside loops over every triplet of the batch."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from contracts import check_objective, loss_and_gradients

from textcl.objectives.batch_triplet import BatchTriplet
from textcl.objectives.given_triplets import GivenTriplets
from textcl.objectives.triplet import TripletMargin
from textcl.types import Embeddings

LABELS = [0, 0, 1, 1, 2, 0, 1, 3]


def rows(n, names=("anchor",), labels: list[int] | None = LABELS, seed=0):
    g = torch.Generator().manual_seed(seed)
    table = torch.randn((64, len(names), 4), generator=g, dtype=torch.float64)
    vectors = {name: table[:n, k] for k, name in enumerate(names)}
    return Embeddings.of(labels=None if labels is None else torch.tensor(labels)[:n], **vectors)


def slow_distance(a, b, kind):
    if kind != "euclidean":
        a, b = ([x / math.hypot(*v) for x in v] for v in (a, b))
    if kind == "cosine":
        return 1 - sum(x * y for x, y in zip(a, b, strict=True))
    return math.dist(a, b)


def slow_matrix(vectors, kind):
    return [[slow_distance(a, b, kind) for b in vectors] for a in vectors]


def slow_triplets(d, labels, mining, margin):
    n = range(len(labels))
    every = [
        (a, p, m)
        for a, p, m in itertools.product(n, n, n)
        if p != a and labels[p] == labels[a] and labels[m] != labels[a]
    ]
    if mining == "batch_hard":
        hardest = []
        for a in sorted({t[0] for t in every}):
            mine = [t for t in every if t[0] == a]
            p = max((t[1] for t in mine), key=lambda p: d[a][p])
            hardest.append((a, p, min((t[2] for t in mine), key=lambda m: d[a][m])))
        return hardest
    keep = {
        "none": lambda g: True,
        "all": lambda g: g <= margin,
        "hard": lambda g: g <= 0,
        "semihard": lambda g: 0 < g <= margin,
        "easy": lambda g: g > margin,
    }[mining]
    return [(a, p, m) for a, p, m in every if keep(d[a][m] - d[a][p])]


def slow_margin(d, triplets, margin, swap, smooth, reduction):
    losses = []
    for a, p, n in triplets:
        far = min(d[a][n], d[p][n]) if swap else d[a][n]
        v = d[a][p] - far + margin
        losses.append(math.log1p(math.exp(v)) if smooth else max(v, 0.0))
    counted = [x for x in losses if x > 0] if reduction == "avg_nonzero" else losses
    return sum(counted) / len(counted) if counted else 0.0


@pytest.mark.parametrize("mining", ["none", "all", "hard", "semihard", "easy", "batch_hard"])
@pytest.mark.parametrize("distance", ["euclidean", "euclidean_unit", "cosine"])
def test_mined_triplets_equal_loops(mining, distance):
    z = rows(8)
    d = slow_matrix(z["anchor"].tolist(), distance)
    objective = TripletMargin(
        0.3, distance=distance, mining=mining, miner_margin=0.4, reduction="mean"
    )
    want = slow_triplets(d, LABELS, mining, 0.4)
    assert len(want) > 0
    assert [tuple(t) for t in objective.triplets(z).tolist()] == want
    slow = slow_margin(d, want, 0.3, False, False, "mean")
    assert objective(z).loss.item() == pytest.approx(slow, rel=1e-12)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("reduction", ["avg_nonzero", "mean"])
@pytest.mark.parametrize("mining", ["none", "batch_hard"])
def test_forms_of_the_margin_equal_loops(swap, smooth, reduction, mining):
    z = rows(8)
    d = slow_matrix(z["anchor"].tolist(), "euclidean_unit")
    objective = TripletMargin(0.3, mining=mining, swap=swap, smooth=smooth, reduction=reduction)
    triplets = slow_triplets(d, LABELS, mining, 0.3)
    want = slow_margin(d, triplets, 0.3, swap, smooth, reduction)
    assert objective(z).loss.item() == pytest.approx(want, rel=1e-12)


def test_views_of_a_row_belong_together_without_labels():
    z = rows(4, ("anchor", "positive"), labels=None)
    vectors = z["anchor"].tolist() + z["positive"].tolist()
    d = slow_matrix(vectors, "euclidean_unit")
    triplets = slow_triplets(d, [0, 1, 2, 3] * 2, "none", 0.0)
    want = slow_margin(d, triplets, 0.2, False, False, "avg_nonzero")
    objective = TripletMargin(0.2, names=("anchor", "positive"))
    assert objective(z).loss.item() == pytest.approx(want, rel=1e-12)


def slow_batch(d, labels, form, margin):
    n = range(len(labels))
    if form == "all":
        triplets = slow_triplets(d, labels, "none", 0.0)
        return slow_margin(d, triplets, margin, False, False, "avg_nonzero")
    if form == "semihard":
        losses = []
        for a, p in itertools.permutations(n, 2):
            if labels[a] == labels[p]:
                negatives = [d[a][m] for m in n if labels[m] != labels[a]]
                farther = [x for x in negatives if x > d[a][p]]
                chosen = min(farther) if farther else max(negatives)
                losses.append(max(0.0, d[a][p] - chosen + margin))
        return sum(losses) / len(losses)
    losses = []
    for a in n:
        farthest = max([d[a][p] for p in n if p != a and labels[p] == labels[a]], default=0.0)
        nearest = min(d[a][m] + max(d[a]) * (labels[m] == labels[a]) for m in n)
        gap = farthest - nearest
        soft = math.log1p(math.exp(gap))
        losses.append(soft if form == "hard_soft_margin" else max(0.0, gap + margin))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("form", ["hard", "hard_soft_margin", "semihard", "all"])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_batch_forms_equal_loops(form, distance):
    z = rows(8)
    d = slow_matrix(z["anchor"].tolist(), distance)
    objective = BatchTriplet(form, margin=0.5, distance=distance)
    want = slow_batch(d, LABELS, form, 0.5)
    assert objective(z).loss.item() == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("distance", ["euclidean", "euclidean_unit", "cosine"])
@pytest.mark.parametrize("swap", [False, True])
def test_given_triplets_equal_loops(distance, swap):
    z = rows(5, ("anchor", "positive", "negative"), None)
    losses = []
    for a, p, n in zip(*(z[name].tolist() for name in z.by_name), strict=True):
        far = slow_distance(a, n, distance)
        far = min(far, slow_distance(p, n, distance)) if swap else far
        losses.append(max(0.0, slow_distance(a, p, distance) - far + 0.5))
    assert any(losses)
    mean = GivenTriplets(0.5, distance=distance, swap=swap)(z).loss
    assert mean.item() == pytest.approx(sum(losses) / 5, rel=1e-12)
    positive = [x for x in losses if x > 0]
    loss = GivenTriplets(0.5, distance=distance, swap=swap, reduction="avg_nonzero")(z).loss
    assert loss.item() == pytest.approx(sum(positive) / len(positive), rel=1e-12)


def test_equal_rows_have_a_finite_gradient():
    table = torch.ones((4, 3), dtype=torch.float64)
    z = Embeddings.of(labels=torch.tensor([0, 0, 1, 1]), anchor=table)
    for objective in (TripletMargin(0.5), TripletMargin(0.5, distance="euclidean"), BatchTriplet()):
        loss, grads = loss_and_gradients(objective, z)
        assert loss > 0
        assert torch.equal(grads["anchor"], torch.zeros_like(table))
    z = Embeddings.of(anchor=table, positive=table, negative=table)
    loss, grads = loss_and_gradients(GivenTriplets(0.5), z)
    assert loss.item() == 0.5
    assert torch.equal(grads["anchor"], torch.zeros_like(table))


def test_satisfied_triplets_have_no_loss_and_no_gradient():
    table = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [-1, 0]], dtype=torch.float64)
    z = Embeddings.of(labels=torch.tensor([0, 0, 1, 1]), anchor=table)
    for objective in (
        TripletMargin(2.0),
        BatchTriplet("hard", margin=2.0),
    ):  # gap = margin: exactly 0
        loss, grads = loss_and_gradients(objective, z)
        assert loss.item() == 0
        assert torch.equal(grads["anchor"], torch.zeros_like(table))


@pytest.mark.parametrize("labels", [[0, 1, 2], [5, 5, 5]])
@pytest.mark.parametrize(
    "objective",
    [
        TripletMargin(0.5),
        TripletMargin(0.5, mining="batch_hard"),
        BatchTriplet("semihard"),
        BatchTriplet("all"),
    ],
    ids=lambda o: getattr(o, "form", None) or o.mining,
)
def test_without_any_triplet_the_loss_is_0(objective, labels):
    loss, grads = loss_and_gradients(objective, rows(3, labels=labels))
    assert loss.item() == 0
    assert torch.isfinite(grads["anchor"]).all()
    assert grads["anchor"].abs().max().item() == 0


def test_hard_form_still_pushes_anchors_without_a_positive():
    z = rows(3, labels=[0, 1, 2])
    d = slow_matrix(z["anchor"].tolist(), "euclidean")
    want = slow_batch(d, [0, 1, 2], "hard", 5.0)
    assert want > 0
    assert BatchTriplet()(z).loss.item() == pytest.approx(want, rel=1e-12)


def triple(n):
    return rows(n, ("anchor", "positive", "negative"), None)


CASES = {
    "none": (lambda w: TripletMargin(0.3, world=w), rows),
    "swap": (lambda w: TripletMargin(0.3, swap=True, smooth=True, world=w), rows),
    "cosine": (lambda w: TripletMargin(0.3, distance="cosine", mining="semihard", world=w), rows),
    "batch_hard": (lambda w: TripletMargin(0.3, mining="batch_hard", swap=True, world=w), rows),
    "views": (
        lambda w: TripletMargin(0.3, reduction="mean", names=("anchor", "positive"), world=w),
        lambda n: rows(n, ("anchor", "positive"), None),
    ),
    "st_hard": (lambda w: BatchTriplet("hard", world=w), rows),
    "st_soft": (lambda w: BatchTriplet("hard_soft_margin", world=w), rows),
    "st_semihard": (lambda w: BatchTriplet("semihard", world=w), rows),
    "st_all": (lambda w: BatchTriplet("all", distance="cosine", world=w), rows),
    "given": (lambda w: GivenTriplets(5.0, world=w), triple),
}


@pytest.mark.parametrize("case", CASES)
def test_contract(case, monkeypatch):
    make, make_rows = CASES[case]
    names = tuple(make_rows(2).by_name)
    check_objective(make, make_rows, uses=names, monkeypatch=monkeypatch)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="needs labels, and the batch has none"):
        TripletMargin()(rows(3, labels=None))
    z = Embeddings.of(labels=torch.ones(2, 3), anchor=torch.ones(2, 3))
    with pytest.raises(ValueError, match="one class id a row, the labels are multi-hot"):
        BatchTriplet()(z)
