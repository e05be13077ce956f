"""Which rows come when: every row once an epoch, the same after a resume, shared out over processes."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from textcl.data.rows import load_rows
from textcl.distributed import World
from textcl.errors import UserError
from textcl.training.loader import Collate, Loader
from textcl.training.samplers import ShuffledBatches, SourceBatches
from textcl.types import Tokens
from textcl.views.view import View


def tokenize(texts):
    return Tokens.from_lists([[ord(c) for c in text] for text in texts])


def shuffle_letters(text: str, rng: random.Random) -> str:
    letters = list(text)
    rng.shuffle(letters)
    return "".join(letters)


def loader_of(rows=10, size=4, seed=5, world=None, views=None):
    data = load_rows([f"sentence number {i}" for i in range(rows)], roles=("text",))
    views = views or {"anchor": View("text"), "positive": View("text", (shuffle_letters,))}
    sampler = ShuffledBatches(len(data), size, seed)
    return Loader(
        data, sampler, Collate(views, dict.fromkeys(views, tokenize), seed), world or World()
    )


def test_an_epoch_has_every_row_once():
    sampler = ShuffledBatches(10, 3, seed=1, drop_last=False)
    seen = np.concatenate([sampler.batch(0, i) for i in range(len(sampler))])
    assert sorted(seen) == list(range(10))
    assert len(ShuffledBatches(10, 3, seed=1)) == 3
    assert len(ShuffledBatches(9, 3, seed=1)) == 3


def test_the_order_follows_from_seed_and_epoch():
    order = [
        ShuffledBatches(100, 10, seed).batch(epoch, 2).tolist()
        for seed, epoch in ((1, 0), (1, 1), (2, 0))
    ]
    assert order[0] == ShuffledBatches(100, 10, 1).batch(0, 2).tolist()
    assert order[0] != order[1]
    assert order[0] != order[2]


def test_a_later_start_gives_the_same_batches():
    loader = loader_of()
    whole = list(loader.batches(epoch=3))
    rest = list(loader.batches(epoch=3, start=1))
    assert len(whole) == 2
    assert len(rest) == 1
    for view in ("anchor", "positive"):
        assert torch.equal(rest[0].tokens[view].ids, whole[1].tokens[view].ids)


def test_processes_share_a_batch_without_changing_it():
    whole = loader_of(size=5).batch(0, 0)
    parts = [loader_of(size=5, world=World(rank, 2)).batch(0, 0) for rank in range(2)]
    assert [len(part) for part in parts] == [3, 2]
    for view in ("anchor", "positive"):
        together = Tokens.concatenate([part.tokens[view] for part in parts])
        assert torch.equal(together.ids, whole.tokens[view].ids)
    assert torch.equal(torch.cat([part.rows for part in parts]), whole.rows)


def test_augmentations_differ_between_epochs_and_not_between_calls():
    loader = loader_of(rows=8, size=8)
    first, again, next_epoch = loader.batch(0, 0), loader.batch(0, 0), loader.batch(1, 0)
    assert torch.equal(first.tokens["positive"].ids, again.tokens["positive"].ids)
    row = int(first.rows[0])
    where = next_epoch.rows.tolist().index(row)
    assert not torch.equal(
        first.tokens["positive"].rows(0, 1).ids,
        next_epoch.tokens["positive"].rows(where, where + 1).ids,
    )


def test_groups_name_equal_texts_before_augmentation():
    data = load_rows(["the same", "another", "the same "], roles=("text",))
    views = {"anchor": View("text"), "positive": View("text", (shuffle_letters,))}
    batch = Collate(views, dict.fromkeys(views, tokenize), 0)(data[[0, 1, 2]], np.arange(3), 0)
    groups = batch.groups["positive"]
    assert groups[0] == groups[2] != groups[1]
    assert torch.equal(groups, batch.groups["anchor"])


def labels_of(rows, **classes):
    collate = Collate({"anchor": View("text")}, {"anchor": tokenize}, 0, classes=classes)
    return collate(rows, np.arange(len(rows)), 0).labels.tolist()


def test_labels_become_ids_in_the_order_of_the_classes():
    rows = [{"text": "a", "label": "joy"}, {"text": "b", "label": "anger"}]
    assert labels_of(rows, label=("anger", "joy")) == [1, 0]
    rows = [{"text": "a", "labels": ["joy", "anger"]}, {"text": "b", "labels": []}]
    assert labels_of(rows, labels=("anger", "joy")) == [[1.0, 1.0], [0.0, 0.0]]
    rows = [
        {"text": "a", "label:x": "joy", "label:y": None},
        {"text": "b", "label:x": "anger", "label:y": "no"},
    ]
    classes = {"label:x": ("anger", "joy"), "label:y": ("no",)}
    assert labels_of(rows, **classes) == [[1, -1], [0, 0]]


SOURCES = np.repeat([0, 1, 2], [20, 9, 31])


@pytest.mark.parametrize("mixed", [False, True])
def test_each_data_set_comes_as_often_as_its_weight_says(mixed):
    sampler = SourceBatches(SOURCES, (2.0, 1.0, 1.0), 8, seed=1, mixed=mixed)
    assert len(sampler) == 7
    batches = [sampler.batch(epoch, index) for epoch in range(4) for index in range(7)]
    of = [np.bincount(SOURCES[batch], minlength=3).tolist() for batch in batches]
    assert all(len(set(batch.tolist())) == 8 for batch in batches)
    if mixed:
        assert all(counts == [4, 2, 2] for counts in of)
        assert sampler.visits() == pytest.approx([7 * 4 / 20, 7 * 2 / 9, 7 * 2 / 31])
    else:
        assert all(sorted(counts) == [0, 0, 8] for counts in of)
        assert [sum(c[s] == 8 for c in of) / 4 for s in range(3)] == [3, 2, 2]
        assert sampler.visits() == pytest.approx([24 / 20, 16 / 9, 16 / 31])
    again = SourceBatches(SOURCES, (2.0, 1.0, 1.0), 8, seed=1, mixed=mixed)
    assert again.batch(3, 5).tolist() == batches[3 * 7 + 5].tolist()


def test_a_pass_over_a_data_set_repeats_no_row():
    sampler = SourceBatches(SOURCES, (1.0, 0.01, 0.01), 5, seed=0)
    first = [sampler.batch(0, index) for index in range(4)]  # 20 rows of the first data set
    assert len({row for batch in first for row in batch.tolist()}) == 20


def test_a_data_set_smaller_than_a_batch_is_refused():
    with pytest.raises(UserError, match="data set 2 has 9 rows, fewer than the 16"):
        SourceBatches(SOURCES, (1.0, 1.0, 1.0), 16, seed=0)
    SourceBatches(SOURCES, (1.0, 1.0, 1.0), 16, seed=0, mixed=True)
