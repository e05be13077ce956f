"""Hooks: what each of them changes, and when."""

from __future__ import annotations

import copy

import pytest
import torch
from contracts import on_ranks
from torch import nn

from textcl.contrast.pairings import AnchorPositive
from textcl.contrast.prototypes import Clusters, Prototypes
from textcl.contrast.queue import AppendQueue, MemoryQueue
from textcl.contrast.temperature import ScheduledTemperature
from textcl.distributed import ALONE
from textcl.encoder.momentum import CosineMomentum, MomentumEncoder
from textcl.method.hooks import Enqueue, FromEpoch, Hook, MoveMomentum, MoveSchedules, Recluster
from textcl.objectives.contrastive import Contrastive
from textcl.types import Embeddings, Tokens


def test_hook_does_nothing():
    hook = Hook()
    hook.before_training(3)
    hook.before_epoch(0, lambda: pytest.fail("nobody needs the embeddings"))
    hook.after_batch(Embeddings.of(anchor=torch.ones(1, 2)), ALONE)
    hook.after_update(1)


def test_enqueue_stores_raw_keys_and_groups_after_the_batch():
    queue = MemoryQueue(5, 3)
    keys = torch.randn(2, 3)
    objective = Contrastive(AnchorPositive(), 0.1, [AppendQueue(queue)])
    z = Embeddings.of(
        groups={"key": torch.tensor([4, 9])},
        anchor=torch.randn(2, 3),
        positive=torch.randn(2, 3),
        key=keys,
    )
    for _ in range(2):
        objective(z)
    assert queue.filled == 0
    Enqueue(queue).after_batch(z, ALONE)
    assert torch.equal(queue.keys, keys)
    assert queue.groups.tolist() == [4, 9]


def test_enqueue_gives_every_rank_all_keys_in_rank_order():
    keys = torch.randn(5, 3)
    shares = [slice(0, 3), slice(3, 5)]

    def work(world):
        queue = MemoryQueue(8, 3)
        share = shares[world.rank]
        z = Embeddings.of(groups={"key": torch.arange(5)[share]}, key=keys[share])
        Enqueue(queue).after_batch(z, world)
        assert queue.groups.tolist() == [0, 1, 2, 3, 4]
        return queue.keys

    for stored in on_ranks(work, 2):
        assert torch.equal(stored, keys)


def test_momentum_moves_after_the_update():
    online = nn.Linear(2, 2)
    momentum = MomentumEncoder(online, 0.5)
    before = online.weight.detach().clone()
    with torch.no_grad():
        online.weight += 2
    MoveMomentum(momentum, online).after_update(1)
    torch.testing.assert_close(momentum.encoder.state_dict()["weight"], before + 1)


class Bag(nn.Module):
    """Means of word vectors, and a layer on top."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words, self.top = nn.Embedding(20, 6).double(), nn.Linear(6, 6).double()

    def forward(self, tokens):
        parts = self.words(tokens.ids).split(tokens.lengths.tolist())
        return self.top(torch.stack([part.mean(0) for part in parts]))


def batches(steps):
    g = torch.Generator().manual_seed(0)
    for _ in range(steps):
        first, second = torch.randint(20, (2, 4, 3), generator=g).tolist()
        yield Tokens.from_lists(first), Tokens.from_lists(second)


def slow_esimcse(steps, shared_head):
    """In the order of the authors' code: momentum in the forward, keys after the loss, then the optimizer."""
    online, size = Bag(), 10
    momentum = copy.deepcopy(online)
    optimizer, keys, losses = torch.optim.SGD(online.parameters(), 0.5), [], []
    for first, second in batches(steps):
        with torch.no_grad():
            for mine, theirs in zip(momentum.parameters(), online.parameters(), strict=True):
                mine.copy_(0.7 * mine + 0.3 * theirs)
        anchors = torch.nn.functional.normalize(online(first))
        candidates = [torch.nn.functional.normalize(online(second)), *keys]
        loss = torch.nn.functional.cross_entropy(
            anchors @ torch.cat(candidates).T / 0.1, torch.arange(4)
        )
        optimizer.zero_grad()
        loss.backward()
        with torch.no_grad():
            if shared_head:
                momentum.top.load_state_dict(online.top.state_dict())
            new = torch.nn.functional.normalize(momentum(first))
        keys = [torch.cat([*keys, new])[-size:]]
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("shared_head", [False, True])
def test_steps_in_our_order_equal_those_of_the_authors(shared_head):
    online = Bag()
    momentum = MomentumEncoder(online, 0.7, shared=["top"] if shared_head else [])
    queue = MemoryQueue(10, 6).double()
    objective = Contrastive(AnchorPositive(), 0.1, [AppendQueue(queue)])
    hooks = [Enqueue(queue), MoveMomentum(momentum, online)]
    optimizer, losses = torch.optim.SGD(online.parameters(), 0.5), []
    for step, (first, second) in enumerate(batches(6)):
        z = Embeddings.of(anchor=online(first), positive=online(second), key=momentum(first))
        loss = objective(z).loss
        loss.backward()
        for hook in hooks:
            hook.after_batch(z, ALONE)
        optimizer.step()
        optimizer.zero_grad()
        for hook in hooks:
            hook.after_update(step + 1)
        losses.append(loss.item())
    assert losses == pytest.approx(slow_esimcse(6, shared_head), rel=1e-10)


def test_schedules_follow_the_updates():
    temperature, momentum = ScheduledTemperature("linear", 0.1, 0.2), CosineMomentum(0.9)
    hook = MoveSchedules([temperature, momentum])
    hook.before_training(10)
    assert temperature() == 0.1
    hook.after_update(5)
    assert temperature() == pytest.approx(0.15)
    assert momentum() == pytest.approx(0.95)
    hook.after_update(10)
    assert temperature() == pytest.approx(0.2)


def test_transform_acts_from_its_epoch_on():
    queue = MemoryQueue(4, 3)
    queue.enqueue(torch.randn(4, 3))
    z = Embeddings.of(anchor=torch.randn(2, 3), positive=torch.randn(2, 3))
    late = FromEpoch(AppendQueue(queue), 2)
    objective = Contrastive(AnchorPositive(), 0.1, [late])
    queued = []
    for epoch in range(4):
        late.before_epoch(epoch, lambda: torch.empty(0, 3))
        queued.append(objective.table(z).queued)
    assert queued == [0, 0, 4, 4]
    assert FromEpoch(AppendQueue(queue), 0).active


def test_recluster_waits_for_the_warmup_and_skips_a_resumed_epoch():
    prototypes, calls = Prototypes(1, 3), []

    def cluster(features):
        calls.append(features)
        return [Clusters(features[:2], torch.ones(2), torch.tensor([0, 1, 0, 1]))]

    hook, features = Recluster(prototypes, cluster, warmup_epochs=1), torch.randn(4, 3)
    hook.before_epoch(0, lambda: pytest.fail("no clustering while warming up"))
    assert prototypes.levels == []
    hook.before_epoch(1, lambda: features)
    hook.before_epoch(1, lambda: pytest.fail("these prototypes are of this epoch"))
    hook.before_epoch(2, lambda: features)
    assert len(calls) == 2
    assert torch.equal(prototypes.levels[0].centroids, features[:2])


def test_recluster_works_on_rank_0_and_reaches_all():
    features = torch.randn(4, 3)

    def work(world):
        def cluster(given):
            assert world.rank == 0
            return [Clusters(given[:2], torch.ones(2), torch.tensor([0, 1, 0, 1]))]

        prototypes = Prototypes(1, 3)
        Recluster(prototypes, cluster, world=world).before_epoch(0, lambda: features)
        return prototypes.levels[0].centroids

    for centroids in on_ranks(work, 2):
        assert torch.equal(centroids, features[:2])
