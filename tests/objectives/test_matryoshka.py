"""Matryoshka beside the same objective on rows that were cut by hand."""

from __future__ import annotations

import pytest
import torch
from contracts import check_objective

from textcl.contrast.draws import Subset
from textcl.contrast.pairings import AnchorPositive
from textcl.contrast.queue import AppendQueue, MemoryQueue
from textcl.objectives.contrastive import Contrastive
from textcl.objectives.matryoshka import Matryoshka
from textcl.types import Embeddings


def rows(n, dim=8):
    g = torch.Generator().manual_seed(0)
    table = torch.randn((64, 2, dim), generator=g, dtype=torch.float64)
    return Embeddings.of(anchor=table[:n, 0], positive=table[:n, 1])


def cut(z, dim):
    return Embeddings.of(**{name: x[:, :dim] for name, x in z.by_name.items()})


def test_sum_over_widths_equals_rows_cut_by_hand():
    z, inner = rows(6), Contrastive(AnchorPositive(), 0.1)
    want = 1.0 * inner(z).loss + 0.5 * inner(cut(z, 4)).loss + 0.25 * inner(cut(z, 2)).loss
    output = Matryoshka(inner, [8, 4, 2], [1.0, 0.5, 0.25])(z)
    assert output.loss.item() == pytest.approx(want.item(), rel=1e-12)
    assert output.terms["loss/4"].item() == inner(cut(z, 4)).loss.item()


def test_queue_keys_are_cut_with_the_anchors():
    g = torch.Generator().manual_seed(1)
    keys = torch.randn((5, 8), generator=g, dtype=torch.float64)

    def queued(dim):
        queue = MemoryQueue(5, dim).double()
        queue.enqueue(keys[:, :dim])
        return Contrastive(AnchorPositive(), 0.1, [AppendQueue(queue)])

    z = rows(4)
    want = sum(queued(dim)(cut(z, dim)).loss.item() for dim in (8, 4, 2))
    loss = Matryoshka(queued(8), [8, 4, 2])(z).loss
    assert loss.item() == pytest.approx(want, rel=1e-12)


def test_only_named_embeddings_are_cut():
    z = rows(3)
    z = z.with_vectors({**z.by_name, "logits": torch.ones((3, 2))})
    seen = {}

    class Spy(Contrastive):
        def forward(self, z):
            seen.update({name: x.shape[1] for name, x in z.by_name.items()})
            return super().forward(z)

    Matryoshka(Spy(AnchorPositive(), 0.1), [4], names=["anchor", "positive"])(z)
    assert seen == {"anchor": 4, "positive": 4, "logits": 2}


def test_drawn_widths_change_and_repeat_when_the_state_is_restored():
    inner, z = Contrastive(AnchorPositive(), 0.1), rows(3)
    objective = Matryoshka(inner, [8, 6, 4, 2], choose=Subset(2, seed=3))
    state = objective.state_dict()
    drawn = [{t for t in objective(z).terms if t.startswith("loss/")} for _ in range(8)]
    assert all(len(widths) == 2 for widths in drawn)
    assert len({frozenset(widths) for widths in drawn}) > 1
    objective.load_state_dict(state)
    assert {t for t in objective(z).terms if t.startswith("loss/")} == drawn[0]


def test_contract(monkeypatch):
    check_objective(
        lambda w: Matryoshka(Contrastive(AnchorPositive(), 0.2, world=w), [5, 3], [1.0, 0.5]),
        lambda n: rows(n, 5),
        uses=("anchor", "positive"),
        monkeypatch=monkeypatch,
    )


def test_mistakes_are_named():
    inner = Contrastive(AnchorPositive(), 0.1)
    with pytest.raises(ValueError, match="cannot cut 'anchor' to 16 dimensions, it has 8"):
        Matryoshka(inner, [8, 16])(rows(2))
    for dims, weights in (([], None), ([4], [1.0, 2.0]), ([0], None)):
        with pytest.raises(ValueError, match="dims must be positive, with a weight each"):
            Matryoshka(inner, dims, weights)
