"""The queue and the prototypes: where keys go, what survives, what an objective sees of them."""

from __future__ import annotations

import pytest
import torch
from contracts import on_ranks

from textcl.contrast.masks import MaskDuplicates
from textcl.contrast.pairings import AnchorPositive
from textcl.contrast.prototypes import Clusters, Prototypes
from textcl.contrast.queue import NO_GROUP, AppendQueue, MemoryQueue
from textcl.contrast.transforms import only_own_positive
from textcl.objectives.contrastive import Contrastive
from textcl.types import Embeddings


def numbered(*numbers):
    """Keys whose first number tells them apart."""
    return torch.tensor([[float(n), 1.0, 2.0] for n in numbers])


def first_numbers(queue):
    return queue.keys[:, 0].long().tolist()


def test_queue_starts_empty_and_fills():
    queue = MemoryQueue(5, 3)
    assert len(queue.keys) == 0
    queue.enqueue(numbered(1, 2, 3))
    assert first_numbers(queue) == [1, 2, 3]
    assert queue.groups.tolist() == [NO_GROUP] * 3


def test_queue_writes_modulo_its_size():
    queue = MemoryQueue(5, 3)
    for start in (1, 4, 7):
        queue.enqueue(numbered(start, start + 1, start + 2), torch.arange(start, start + 3))
    assert first_numbers(queue) == [6, 7, 8, 9, 5]
    assert queue.groups.tolist() == [6, 7, 8, 9, 5]
    assert queue.pointer == 4


def test_batch_larger_than_the_queue_keeps_the_last():
    queue = MemoryQueue(4, 3)
    queue.enqueue(numbered(1))
    queue.enqueue(numbered(*range(2, 12)))
    one_by_one = MemoryQueue(4, 3)
    for n in range(1, 12):
        one_by_one.enqueue(numbered(n))
    assert first_numbers(queue) == first_numbers(one_by_one) == [9, 10, 11, 8]
    assert queue.pointer == one_by_one.pointer


def test_queue_keeps_raw_keys_without_a_graph():
    queue = MemoryQueue(2, 3)
    keys = numbered(7).requires_grad_()
    queue.enqueue(keys)
    assert not queue.keys.requires_grad
    assert torch.equal(queue.keys, keys.detach())


def test_random_queue_is_full_of_unit_rows_and_then_overwritten():
    queue, same = MemoryQueue(4, 3, start="random"), MemoryQueue(4, 3, start="random")
    torch.testing.assert_close(queue.keys.norm(dim=1), torch.ones(4))
    assert torch.equal(queue.keys, same.keys)
    queue.enqueue(numbered(9))
    assert len(queue.keys) == 4
    assert first_numbers(queue)[0] == 9


def test_queue_state_survives_a_round_trip():
    queue, other = MemoryQueue(4, 3), MemoryQueue(4, 3)
    queue.enqueue(numbered(1, 2, 3), torch.tensor([5, 6, 7]))
    other.load_state_dict(queue.state_dict())
    assert all(isinstance(value, torch.Tensor) for value in queue.state_dict().values())
    for each in (queue, other):
        each.enqueue(numbered(4, 5), torch.tensor([8, 9]))
    assert torch.equal(queue.keys, other.keys)
    assert torch.equal(queue.groups, other.groups)


def test_empty_queue_adds_nothing_and_pure_moco_loses_nothing():
    z = Embeddings.of(anchor=torch.randn(3, 4), positive=torch.randn(3, 4))
    transforms = [only_own_positive, AppendQueue(MemoryQueue(4, 4))]
    assert Contrastive(AnchorPositive(), 0.1, transforms)(z).loss.item() == 0


def test_queue_columns_are_cut_to_the_anchors_width():
    queue = MemoryQueue(4, 6)
    keys = torch.randn(3, 6)
    queue.enqueue(keys)
    z = Embeddings.of(anchor=torch.randn(2, 4), positive=torch.randn(2, 4))
    contrast = Contrastive(AnchorPositive(), 0.1, [AppendQueue(queue)]).table(z)
    want = torch.nn.functional.normalize(keys[:, :4], dim=1)
    torch.testing.assert_close(contrast.candidates[2:], want)
    assert contrast.census["queue"] == 3


def test_queue_narrower_than_the_anchors_is_refused():
    z = Embeddings.of(anchor=torch.randn(2, 8), positive=torch.randn(2, 8))
    with pytest.raises(
        ValueError, match="the queue holds keys of 4 dimensions, the anchors have 8"
    ):
        Contrastive(AnchorPositive(), 0.1, [AppendQueue(MemoryQueue(4, 4))])(z)


def test_queue_of_size_0_is_refused():
    with pytest.raises(ValueError, match="a queue needs a size of at least 1, not 0"):
        MemoryQueue(0, 4)


def test_queue_key_of_the_anchors_text_is_masked():
    queue = MemoryQueue(4, 4)
    queue.enqueue(torch.randn(3, 4), torch.tensor([11, 12, 99]))
    groups = torch.tensor([10, 11])
    z = Embeddings.of(
        groups={"anchor": groups, "positive": groups},
        anchor=torch.randn(2, 4),
        positive=torch.randn(2, 4),
    )
    table = Contrastive(AnchorPositive(), 0.1, [AppendQueue(queue), MaskDuplicates()]).table(z)
    hidden = torch.isneginf(table.block(torch.arange(2), 1.0).logits)
    assert hidden.nonzero().tolist() == [[1, 2]]


def clusters(value=1.0):
    return Clusters(
        torch.full((2, 3), value), torch.full((2,), value), torch.tensor([0, 1, 1, 0, 1])
    )


def test_prototypes_are_empty_until_filled_and_survive_a_round_trip():
    prototypes = Prototypes(2, 3)
    assert prototypes.levels == []
    prototypes.fill([clusters(1.0), clusters(2.0)], epoch=3)
    other = Prototypes(2, 3)
    other.load_state_dict(prototypes.state_dict())
    assert other.epoch == 3
    assert other.levels[1].density.tolist() == [2.0, 2.0]
    assert other.levels[0].assignment.tolist() == [0, 1, 1, 0, 1]


def test_prototypes_of_rank_0_reach_all_ranks():
    def work(world):
        prototypes = Prototypes(1, 3)
        prototypes.fill([clusters(7.0)] if world.rank == 0 else None, 0, world)
        return prototypes.levels[0].centroids

    for centroids in on_ranks(work, 2):
        assert torch.equal(centroids, torch.full((2, 3), 7.0))


def test_prototypes_refuse_a_wrong_number_of_clusterings():
    with pytest.raises(ValueError, match="rank 0 must fill in 2 clusterings"):
        Prototypes(2, 3).fill([clusters()])
