"""Masked tokens: which are masked, what they cost, and that it is cached like an embedding."""

from __future__ import annotations

import random

import pytest
import torch
from families import WORDS, tiny_encoder
from torch.nn import functional as F

from textcl.encoder.masked_tokens import MaskedTokenLoss
from textcl.errors import UserError
from textcl.method.backprop import FullBatch, GradCache
from textcl.method.routes import Embedder, Route
from textcl.objectives.ratio import RatioOfSums
from textcl.types import NO_TARGET, Batch
from textcl.views.masking import MaskTokens, mask_tokens
from textcl.views.view import View

TEXTS = [" ".join(WORDS[i : i + 2 + i % 7]) for i in range(10)]


def masked(encoder, rate):
    """The tokens of the texts with some of them masked."""
    rngs = [random.Random(i) for i in range(len(TEXTS))]
    return MaskTokens.of(encoder.tokenizer, rate)(encoder.tokenize(TEXTS), rngs)


def test_rates_of_masking():
    ids, special = torch.arange(200_000) % 50, torch.tensor([0, 1, 2, 3])
    uniform = torch.rand(3, len(ids), generator=torch.Generator().manual_seed(0))
    seen, targets = mask_tokens(ids, uniform, special, mask_id=3, vocabulary=50)
    selected = targets != NO_TARGET
    assert not selected[ids < 4].any()
    assert torch.equal(seen[~selected], ids[~selected])
    assert torch.equal(targets[selected], ids[selected])
    plain = ids >= 4
    assert abs(float(selected[plain].float().mean()) - 0.15) < 0.005
    seen, there = seen[selected], ids[selected]
    assert abs(float((seen == 3).float().mean()) - (0.8 + 0.1 / 50)) < 0.01
    assert abs(float((seen == there).float().mean()) - (0.1 + 0.1 / 50)) < 0.01
    assert (seen.min(), seen.max()) == (0, 49)


def test_rows_are_what_a_naive_loop_gives():
    encoder = tiny_encoder(dropout=0.0)
    model, tokens = MaskedTokenLoss(encoder), masked(encoder, 0.4)
    rows, targets = model(tokens), tokens.changes.targets
    assert rows[:, 1].sum() == (targets != NO_TARGET).sum() > 10
    for i, (start, stop) in enumerate(zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)):
        ids = tokens.ids[start:stop][None]
        states = encoder.backbone(ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
        table = encoder.backbone.get_input_embeddings().weight
        logits = model.transform(states) @ table.T + model.bias
        chosen = targets[start:stop] != NO_TARGET
        loss = F.cross_entropy(logits[chosen], targets[start:stop][chosen], reduction="sum")
        torch.testing.assert_close(rows[i, 0], loss, atol=1e-4, rtol=1e-4)


def test_a_row_is_masked_in_the_same_way_in_every_batch():
    encoder = tiny_encoder()
    view = View("text", changes=(MaskTokens.of(encoder.tokenizer, 0.4),))
    whole = view.change(encoder.tokenize(TEXTS), 0, 0, range(10), "masked")
    alone = view.change(encoder.tokenize(TEXTS[3:5]), 0, 0, [3, 4], "masked")
    assert torch.equal(whole.rows(3, 5).ids, alone.ids)
    assert torch.equal(whole.rows(3, 5).changes.targets, alone.changes.targets)
    other = view.change(encoder.tokenize(TEXTS), 0, 1, range(10), "masked")
    assert not torch.equal(whole.changes.targets, other.changes.targets)


def test_nothing_masked_is_zero_with_a_gradient_of_zero():
    encoder = tiny_encoder()
    model = MaskedTokenLoss(encoder)
    rows = model(masked(encoder, 0.0))
    assert torch.equal(rows, torch.zeros(10, 2))
    rows[:, 0].sum().backward()
    assert float(model.bias.grad.abs().max()) == 0
    with pytest.raises(ValueError, match="needs a view with MaskTokens"):
        model(encoder.tokenize(TEXTS))


def test_weights_of_the_encoder_are_not_its_own():
    encoder = tiny_encoder()
    names = [name for name, _ in MaskedTokenLoss(encoder).state_dict().items()]
    assert all(name.startswith(("transform", "bias")) for name in names)


@pytest.mark.parametrize("chunk", [1, 3, 10])
def test_cached_gradients_equal_those_of_the_same_chunks_with_a_graph(chunk):
    encoder = tiny_encoder(dropout=0.2).double().train()
    embedder = Embedder(
        {"online": encoder, "mlm": MaskedTokenLoss(encoder).double()},
        {"anchor": Route("online", "text"), "mlm": Route("mlm", "text")},
    )
    rows = torch.arange(10)
    batch = Batch({"text": masked(encoder, 0.3)}, rows, {"text": rows})

    def gradients(embedder, backprop):
        torch.manual_seed(3)
        embedder.zero_grad()
        output, _ = backprop(embedder, RatioOfSums(["mlm"]), batch, lambda loss: loss.backward())
        assert output.loss > 0
        return {n: p.grad.clone() for n, p in embedder.named_parameters() if p.grad is not None}

    cached = gradients(embedder, GradCache(chunk))
    whole = gradients(ByChunks(embedder, chunk), FullBatch())
    assert cached.keys() == whole.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(cached[name], gradient, rtol=1e-9, atol=1e-12)


class ByChunks(Embedder):
    """The graph of the whole batch, drawn chunk by chunk."""

    def __init__(self, embedder, size):
        super().__init__(dict(embedder.encoders.items()), embedder.routes)
        self.size = size

    def forward(self, batch):
        parts = [super(ByChunks, self).forward(chunk) for chunk in batch.split(self.size)]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def test_a_model_without_mask_token_is_refused():
    encoder = tiny_encoder()
    encoder.tokenizer.mask_token = None
    with pytest.raises(UserError, match="needs a mask token"):
        MaskTokens.of(encoder.tokenizer)
