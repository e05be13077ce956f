"""The momentum encoder: what it averages, copies and leaves alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from families import tiny_encoder
from torch import nn

from textcl.encoder.momentum import CosineMomentum, FrozenEncoder, MomentumEncoder
from textcl.types import Tokens

TOKENS = Tokens.from_lists([[1, 2], [3], [4, 5, 6]])


class TinyEncoder(nn.Module):
    """A bag of words with dropout inside, and a projector."""

    dimension = 4

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(8, 4)
        self.dropout = nn.Dropout(0.5)
        self.projector = nn.Linear(4, 4)
        self.register_buffer("seen", torch.zeros(2))

    def forward(self, tokens):
        parts = self.dropout(self.table(tokens.ids)).split(tokens.lengths.tolist())
        rows = torch.stack([part.mean(0) for part in parts])
        return self.projector(rows)


def changed(online):
    """Move every weight, as an optimizer would."""
    with torch.no_grad():
        for parameter in online.parameters():
            parameter.add_(torch.randn(parameter.shape))


def test_copy_starts_equal_and_never_has_a_gradient():
    online = TinyEncoder().eval()
    momentum = MomentumEncoder(online, 0.9).eval()
    keys = momentum(TOKENS)
    assert torch.equal(keys, online(TOKENS))
    assert not keys.requires_grad
    assert not any(p.requires_grad for p in momentum.parameters())
    assert all(p.requires_grad for p in online.parameters())
    assert momentum.dimension == 4


def test_move_averages_weights_and_copies_buffers():
    online = TinyEncoder()
    momentum = MomentumEncoder(online, 0.9)
    want = [p.detach().clone() for p in online.parameters()]
    for _ in range(3):
        changed(online)
        online.get_buffer("seen").add_(1)
        momentum.follow(online)
        want = [0.9 * w + 0.1 * p.detach() for w, p in zip(want, online.parameters(), strict=True)]
    for mine, expected in zip(momentum.encoder.parameters(), want, strict=True):
        torch.testing.assert_close(mine, expected)
    assert momentum.encoder.get_buffer("seen").tolist() == [3, 3]


def test_shared_parts_are_always_the_online_ones():
    online = TinyEncoder()
    momentum = MomentumEncoder(online, 0.9, shared=["projector"])
    changed(online)
    momentum.follow(online)
    copied, current = momentum.encoder.state_dict(), online.state_dict()
    assert torch.equal(copied["projector.weight"], current["projector.weight"])
    assert not torch.equal(copied["table.weight"], current["table.weight"])


def test_without_dropout_the_keys_repeat():
    online = TinyEncoder().train()
    noisy = MomentumEncoder(online, 0.9).train()
    still = MomentumEncoder(online, 0.9, dropout=False).train()
    assert not torch.equal(noisy(TOKENS), noisy(TOKENS))  # else this test would say nothing
    assert torch.equal(still(TOKENS), still(TOKENS))
    torch.testing.assert_close(still(TOKENS), online.eval()(TOKENS))


def test_keys_of_a_real_encoder_pass_its_projector_without_dropout():
    online = tiny_encoder(dropout=0.3)
    online.add_projector(keep=False)
    momentum = MomentumEncoder(online, 0.9, shared=["projector"], dropout=False).train()
    tokens = online.tokenize(["a small dog", "two red cats play"])
    keys = momentum(tokens)
    assert torch.equal(keys, momentum(tokens))
    assert online.projector is not None
    torch.testing.assert_close(keys, online.projector(online.eval().embed(tokens)))
    assert momentum.dimension == online.dimension


def test_state_holds_weights_and_schedule():
    online = TinyEncoder().eval()
    schedule, other_schedule = CosineMomentum(0.9), CosineMomentum(0.9)
    momentum = MomentumEncoder(online, schedule).eval()
    schedule.move(0.5)
    changed(online)
    momentum.follow(online)
    other = MomentumEncoder(TinyEncoder(), other_schedule).eval()
    other.load_state_dict(momentum.state_dict())
    assert torch.equal(other(TOKENS), momentum(TOKENS))
    assert other_schedule() == schedule() > 0.9


@pytest.mark.parametrize(("progress", "want"), [(0, 0.99), (0.5, 0.995), (1, 1.0), (7, 1.0)])
def test_cosine_momentum_rises_to_1(progress, want):
    schedule = CosineMomentum(0.99)
    schedule.move(progress)
    assert math.isclose(schedule(), want)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\], not 1.5"):
        MomentumEncoder(TinyEncoder(), 1.5)
    with pytest.raises(ValueError, match='no part "predictor" to share'):
        MomentumEncoder(TinyEncoder(), 0.9, shared=["predictor"])


def test_a_frozen_encoder_rests_while_everything_else_trains():
    online = tiny_encoder(dropout=0.5)
    frozen = FrozenEncoder(online)
    tokens = online.tokenize(["a man runs", "the cat eats"])
    frozen.train()
    first, second = frozen(tokens), frozen(tokens)
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert not any(p.requires_grad for p in frozen.parameters())
    assert frozen.dimension == first.shape[1]


def test_teacher_gives_what_its_encode_does():
    teacher = tiny_encoder(normalize=True)
    texts = ["a man runs", "two dogs"]
    rows = FrozenEncoder(teacher, teacher.finish)(teacher.tokenize(texts))
    np.testing.assert_allclose(rows.numpy(), teacher.encode(texts, precision="float32"), atol=1e-6)
