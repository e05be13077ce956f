"""Gradient caching: the gradient of the whole batch, with the dropout masks of the first pass."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from textcl.contrast.pairings import AnchorPositive
from textcl.contrast.temperature import LearnableTemperature
from textcl.method.backprop import FullBatch, GradCache, backprop_for
from textcl.method.routes import Embedder, Route, as_embeddings
from textcl.objectives.contrastive import Contrastive
from textcl.types import Batch, Tokens

ROUTES = {
    "anchor": Route("online", "text"),
    "positive": Route("online", "text"),
    "key": Route("frozen", "text"),
}


class Bag(nn.Module):
    """Embeds each token, drops some, and averages: a row-by-row encoder with dropout."""

    def __init__(self, dropout, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.table = nn.Embedding(50, 6, dtype=torch.float64)
        self.out = nn.Linear(6, 5, dtype=torch.float64)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens):
        ids, mask = tokens.padded(0)
        states = self.dropout(self.table(ids)) * mask[..., None]
        return self.out(torch.tanh(states.sum(1) / mask.sum(1, keepdim=True)))


def batch_of(rows, seed=0):
    g = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 7, (rows,), generator=g)
    ids = torch.randint(0, 50, (int(lengths.sum()),), generator=g)
    return Batch({"text": Tokens(ids, lengths)}, torch.arange(rows), {"text": torch.arange(rows)})


def embedder_of(dropout):
    online, frozen = Bag(dropout), Bag(dropout, seed=1)
    frozen.requires_grad_(False)
    # the frozen encoder comes first here, and must still not disturb the masks of the other one
    return Embedder({"frozen": frozen, "online": online}, ROUTES)


def gradients(embedder, objective, backprop, batch, seed=3):
    embedder.train()
    for p in [*embedder.parameters(), *objective.parameters()]:
        p.grad = None
    torch.manual_seed(seed)
    output, z = backprop(embedder, objective, batch, lambda loss: loss.backward())
    learned = [p for p in [*embedder.parameters(), *objective.parameters()] if p.requires_grad]
    return output.loss.detach(), z, [p.grad.clone() for p in learned]


def chunked_with_graph(chunk):
    """What gradient caching must equal: the same chunks, embedded with one graph that is kept."""

    def backprop(embedder, objective, batch, backward):
        parts = [embedder(part) for part in batch.split(chunk)]
        vectors = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        output = objective(as_embeddings(vectors, batch, ROUTES))
        backward(output.loss)
        return output, None

    return backprop


def objective_of():
    return Contrastive(AnchorPositive(), LearnableTemperature(0.1).double())


@pytest.mark.parametrize("chunk", [1, 3, 4, 11])
def test_grad_cache_equals_the_whole_batch_without_dropout(chunk):
    embedder, objective, batch = embedder_of(0.0), objective_of(), batch_of(11)
    loss, _, want = gradients(embedder, objective, FullBatch(), batch)
    cached, _, got = gradients(embedder, objective, GradCache(chunk), batch)
    torch.testing.assert_close(cached, loss, rtol=1e-12, atol=1e-12)
    for one, other in zip(got, want, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("chunk", [1, 4])
def test_grad_cache_replays_dropout(chunk):
    embedder, objective, batch = embedder_of(0.4), objective_of(), batch_of(9)
    loss, _, want = gradients(embedder, objective, chunked_with_graph(chunk), batch)
    cached, _, got = gradients(embedder, objective, GradCache(chunk), batch)
    torch.testing.assert_close(cached, loss, rtol=1e-12, atol=1e-12)
    for one, other in zip(got, want, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    other_masks, _, _ = gradients(embedder, objective, GradCache(chunk), batch, seed=4)
    assert abs(other_masks - cached) > 1e-6  # dropout is on: the test is not vacuous


def test_grad_cache_leaves_the_generator_where_the_first_pass_left_it():
    embedder, objective, batch = embedder_of(0.4), objective_of(), batch_of(8)
    gradients(embedder, objective, chunked_with_graph(3), batch)
    want = torch.rand(3)
    gradients(embedder, objective, GradCache(3), batch)
    assert torch.equal(torch.rand(3), want)


def test_gradients_accumulate_over_batches():
    embedder, objective = embedder_of(0.0), objective_of()
    _, _, first = gradients(embedder, objective, GradCache(3), batch_of(7, 1))
    _, _, second = gradients(embedder, objective, GradCache(3), batch_of(7, 2))
    for p in [*embedder.parameters(), *objective.parameters()]:
        p.grad = None
    for seed in (1, 2):
        GradCache(3)(embedder, objective, batch_of(7, seed), lambda loss: loss.backward())
    learned = [p for p in [*embedder.parameters(), *objective.parameters()] if p.requires_grad]
    for p, a, b in zip(learned, first, second, strict=True):
        torch.testing.assert_close(p.grad, a + b, rtol=1e-12, atol=1e-12)


def test_frozen_encoder_gives_keys_and_gets_no_gradient():
    embedder, objective, batch = embedder_of(0.0), objective_of(), batch_of(5)
    _, z, _ = gradients(embedder, objective, GradCache(2), batch)
    assert z["key"].shape == (5, 5)
    assert not z["key"].requires_grad
    assert all(p.grad is None for p in embedder.encoders["frozen"].parameters())


def test_backprop_for_chooses_by_size():
    assert isinstance(backprop_for(0), FullBatch)
    assert backprop_for(16) == GradCache(16)
