"""Adaptive soft targets beside loops, with a queue and in the batch."""

from __future__ import annotations

import math

import pytest
import torch
from contracts import check_objective, loss_and_gradients
from torch import nn

from textcl.contrast.masks import MaskDuplicates
from textcl.contrast.pairings import AllViews, AnchorPositive
from textcl.contrast.queue import AppendQueue, MemoryQueue
from textcl.contrast.soft_targets import SoftQueueTargets, soft_labels
from textcl.contrast.transforms import only_own_positive
from textcl.objectives.byol import Byol
from textcl.objectives.contrastive import Contrastive
from textcl.objectives.predictor import Predictor
from textcl.objectives.soft_byol import SoftByol
from textcl.types import Embeddings

KINDS = ["ascl", "ahcl", "hard", "normal"]


def rows(n, names=("anchor", "key"), dim=5):
    g = torch.Generator().manual_seed(0)
    table = torch.randn((64, len(names), dim), generator=g, dtype=torch.float64)
    return Embeddings.of(**{name: table[:n, k] for k, name in enumerate(names)})


def filled_queue(count, dim=5, size=9):
    g = torch.Generator().manual_seed(1)
    queue = MemoryQueue(size, dim).double()
    queue.enqueue(torch.randn((count, dim), generator=g, dtype=torch.float64))
    return queue


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def slow_labels(similarities, kind, temperature, neighbours):
    count = len(similarities)
    exps = [math.exp(s / temperature) for s in similarities]
    p = [x / sum(exps) for x in exps]
    entropy = -sum(x * math.log(x) for x in p)
    c = 1 - entropy / math.log(count) if count > 1 else 0.0
    nearest = sorted(range(count), key=lambda j: -similarities[j])[:neighbours]
    return [
        {
            "ascl": min(1.0, c * neighbours * p[j]),
            "ahcl": c * (j in nearest),
            "hard": 1.0 * (j in nearest),
            "normal": 0.0,
        }[kind]
        for j in range(count)
    ]


def slow_queue_loss(anchors, keys, queue, kind, tau, tau_prime, neighbours):
    total = 0.0
    for anchor, key in zip(anchors, keys, strict=True):
        y = [1.0, *slow_labels([cosine(key, x) for x in queue], kind, tau_prime, neighbours)]
        logits = [cosine(anchor, x) / tau for x in [key, *queue]]
        lse = math.log(sum(math.exp(x) for x in logits))
        total -= sum(w / sum(y) * (x - lse) for w, x in zip(y, logits, strict=True))
    return total / len(anchors)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("neighbours", [1, 4, 20])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_soft_queue_targets_equal_loops(kind, neighbours, count):
    z, queue = rows(4), filled_queue(count)
    transforms = [only_own_positive, AppendQueue(queue), SoftQueueTargets(kind, 0.2, neighbours)]
    loss = Contrastive(AnchorPositive(positive="key"), 0.1, transforms)(z).loss
    slow = (z["anchor"].tolist(), z["key"].tolist(), queue.keys.tolist())
    want = slow_queue_loss(*slow, kind, 0.1, 0.2, neighbours)
    assert loss.item() == pytest.approx(want, rel=1e-10)


def test_neighbours_are_those_of_the_named_key():
    z, queue = rows(4, ("anchor", "positive", "key")), filled_queue(5)

    def weights(name):
        soften = SoftQueueTargets("hard", neighbours=2, key=name)
        objective = Contrastive(AnchorPositive(), 0.1, [AppendQueue(queue), soften])
        return objective.table(z).target_weights(torch.arange(4))

    assert torch.equal(weights("positive"), weights(None))
    own = torch.nn.functional.normalize(z["key"], dim=1)
    stored = torch.nn.functional.normalize(queue.keys, dim=1)
    nearest = (own @ stored.T).topk(2, dim=1).indices.sort(1).values
    assert torch.equal(weights("key")[:, 4:].nonzero()[:, 1].reshape(4, 2), nearest)
    assert not torch.equal(weights("key"), weights(None))


def test_soft_targets_sum_to_1_and_carry_no_gradient():
    z, queue = rows(4), filled_queue(6)
    transforms = [AppendQueue(queue), SoftQueueTargets("ascl", 0.3, 3)]
    anchor = z["anchor"].clone().requires_grad_()
    key = z["key"].clone().requires_grad_()
    table = Contrastive(AnchorPositive(positive="key"), 0.1, transforms).table(
        Embeddings.of(anchor=anchor, key=key)
    )
    weights = table.target_weights(torch.arange(4))
    assert not weights.requires_grad
    torch.testing.assert_close(weights.sum(1), torch.ones(4, dtype=torch.float64))
    assert (weights[:, 4:] > 0).all()


def test_empty_queue_leaves_the_table_alone():
    objective = Contrastive(
        AnchorPositive(positive="key"), 0.1, [AppendQueue(filled_queue(0)), SoftQueueTargets()]
    )
    plain = Contrastive(AnchorPositive(positive="key"), 0.1)
    assert objective(rows(3)).loss.item() == plain(rows(3)).loss.item()


def test_of_equally_near_neighbours_the_first_counts():
    similarity = torch.tensor([[0.1, 0.7, 0.7, 0.7]], dtype=torch.float64)
    visible = torch.ones((1, 4), dtype=torch.bool)
    assert soft_labels(similarity, visible, "hard", 0.1, 2).tolist() == [[0, 1, 1, 0]]


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_columns_take_nothing(kind):
    similarity = torch.tensor([[0.9, 0.5, -0.2], [0.9, 0.5, -0.2]], dtype=torch.float64)
    visible = torch.tensor([[False, True, True], [False, False, False]])
    labels = soft_labels(similarity, visible, kind, 0.5, 3)
    want = slow_labels([0.5, -0.2], kind, 0.5, 3)
    assert labels[0].tolist() == pytest.approx([0.0, *want])
    assert labels[1].tolist() == [0, 0, 0]


def test_duplicates_masked_before_stay_out_of_the_loss():
    queue = filled_queue(4)
    queue.buffer_groups[:4] = torch.tensor([0, 7, 8, 9])
    transforms = [AppendQueue(queue), MaskDuplicates(), SoftQueueTargets("hard", neighbours=4)]
    objective = Contrastive(AnchorPositive(positive="key"), 0.1, transforms)
    loss, grads = loss_and_gradients(objective, rows(3))
    assert torch.isfinite(loss)
    assert torch.isfinite(grads["anchor"]).all()
    weights = objective.table(rows(3)).target_weights(torch.arange(3))
    assert weights[0, 3] == 0 < weights[1, 3]


def test_several_positives_need_a_named_key():
    objective = Contrastive(
        AllViews(("anchor", "key")), 0.1, [AppendQueue(filled_queue(3)), SoftQueueTargets()]
    )
    with pytest.raises(ValueError, match="SoftQueueTargets needs key=…"):
        objective(rows(3))


def slow_byol(predictions, targets, kind, temperature, neighbours):
    total, n = 0.0, len(predictions)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        labels = slow_labels(
            [cosine(targets[i], targets[j]) for j in others], kind, temperature, neighbours
        )
        y = dict(zip(others, labels, strict=True)) | {i: 1.0}
        agree = sum(y[j] / sum(y.values()) * cosine(predictions[i], targets[j]) for j in range(n))
        total += 2 - 2 * agree
    return total / n


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [2, 3, 6])
def test_soft_byol_equals_loops(kind, count):
    z = rows(count)
    objective = SoftByol(
        nn.Identity(), pairs=[("anchor", "key")], softening=kind, temperature=0.4, neighbours=2
    )
    want = slow_byol(z["anchor"].tolist(), z["key"].tolist(), kind, 0.4, 2)
    assert objective(z).loss.item() == pytest.approx(want, rel=1e-10)


@pytest.mark.parametrize("count", [1, 2])
def test_soft_byol_of_a_tiny_batch_is_byol(count):
    z, pairs = rows(count), [("anchor", "key")]
    soft, plain = SoftByol(nn.Identity(), pairs=pairs), Byol(nn.Identity(), pairs=pairs)
    assert soft(z).loss.item() == pytest.approx(plain(z).loss.item(), rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_contract_of_the_queue_form(kind, monkeypatch):
    queue = filled_queue(8)

    def make(world):
        transforms = [only_own_positive, AppendQueue(queue), SoftQueueTargets(kind, 0.3, 3)]
        return Contrastive(AnchorPositive(positive="key"), 0.2, transforms, world=world)

    check_objective(make, rows, uses=("anchor", "key"), monkeypatch=monkeypatch)


def test_contract_of_soft_byol(monkeypatch):
    torch.manual_seed(0)
    predictor = Predictor(5, 7, norm="layer").double()

    def make(world):
        pairs = [("anchor", "key")]
        return SoftByol(predictor, pairs=pairs, temperature=0.3, neighbours=3, world=world)

    check_objective(make, rows, uses=("anchor",), monkeypatch=monkeypatch)
