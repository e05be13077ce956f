"""Attention within a window, taken block by block, is that of a mask over all pairs of places."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from families import tiny_encoder

from textcl.encoder.packing import near
from textcl.encoder.packing.reach import Reach


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(near, "SHORTEST", 12)
    monkeypatch.setattr(near, "_BLOCK", 5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [12, 15, 23])
def test_blocks_give_what_one_mask_gives(small_blocks, causal, length):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, length, 4, dtype=torch.float64, requires_grad=True) for _ in "qkv")
    reach = Reach(3, causal)
    assert near.pays(reach, length)
    got = near.attend_near(q, k, v, 0.5, reach)
    want = F.scaled_dot_product_attention(q, k, v, attn_mask=reach.mask(length), scale=0.5)
    torch.testing.assert_close(got, want)
    weights = torch.randn_like(want)
    for ours, theirs in zip(
        torch.autograd.grad((got * weights).sum(), (q, k, v)),
        torch.autograd.grad((want * weights).sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_blocks_are_for_long_rows_and_narrow_windows():
    assert near.pays(Reach(65), 8192)
    assert not near.pays(Reach(65), 512)
    assert not near.pays(Reach(4096), 8192)
    assert not near.pays(Reach(causal=True), 8192)


def test_a_model_with_windows_has_equal_vectors(small_blocks, monkeypatch):
    encoder = tiny_encoder("modernbert")
    assert encoder.backbone.config.sliding_window < 16
    texts = ["a dog " * 20, "the cat", "a man plays " * 9]
    taken: list[int] = []
    whole = near.attend_near
    monkeypatch.setattr(near, "attend_near", lambda *a: taken.append(1) or whole(*a))
    ours = encoder.encode(texts, precision="float32")
    assert taken
    monkeypatch.setattr(near, "SHORTEST", 10**6)
    torch.testing.assert_close(
        torch.from_numpy(encoder.encode(texts, precision="float32")), torch.from_numpy(ours)
    )
