"""Attention in buckets beside a slow loop over rows and heads, with the same dropout masks."""

from __future__ import annotations

import pytest
import torch

from textcl.encoder.packing import buckets as bucketed_attention
from textcl.encoder.packing.attention import Packing, _attend_in_buckets
from textcl.encoder.packing.buckets import Buckets, attend
from textcl.encoder.packing.dropout import STEPS, draw_mask, steps_of
from textcl.encoder.packing.reach import Reach

HEADS, WIDTH, SCALE = 3, 5, 0.3


def made_up(lengths: list[int], dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (sum(lengths), HEADS, WIDTH)
    values = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3)]
    return [x.to(dtype).requires_grad_() for x in values]


def slow(query, key, value, lengths: list[int], dropout: float) -> torch.Tensor:
    """One row and one head after another; the masks are drawn per bucket, as the fast one does."""
    contexts = torch.zeros_like(value)
    sizes = [-(-length // 16) * 16 for length in lengths]
    masks: list[torch.Tensor] = []
    for size in dict.fromkeys(sizes):
        shape = (sizes.count(size), HEADS, size, size)
        masks += list(draw_mask(torch.Size(shape).numel(), steps_of(dropout)).view(shape))
    start = 0
    for length, mask in zip(lengths, masks, strict=True):
        here = slice(start, start + length)
        for head in range(HEADS):
            scores = query[here, head] @ key[here, head].T * SCALE
            keep = mask[head, :length, :length] * (STEPS / (STEPS - steps_of(dropout)))
            contexts[here, head] = (scores.softmax(-1) * keep) @ value[here, head]
        start += length
    return contexts


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("lengths", [[1], [16], [1, 1, 2, 9, 16, 17, 31, 32, 40], [3, 5, 5]])
def test_contexts_and_gradients_equal_the_slow_loop(lengths, dropout):
    inputs = made_up(lengths)
    upstream = torch.randn(inputs[0].shape, dtype=torch.float64)
    packing = Packing(torch.tensor(lengths))
    torch.manual_seed(1)
    ours = _attend_in_buckets(*inputs, packing, SCALE, dropout, Reach())
    torch.manual_seed(1)
    theirs = slow(*inputs, lengths, dropout)
    torch.testing.assert_close(ours, theirs)
    mine = torch.autograd.grad(ours, inputs, upstream)
    for a, b in zip(mine, torch.autograd.grad(theirs, inputs, upstream), strict=True):
        torch.testing.assert_close(a, b)


def test_gradients_agree_with_finite_differences():
    lengths = [1, 3, 17]
    packing = Packing(torch.tensor(lengths), torch.arange(21) % 5 != 3)

    def same_masks(*inputs: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(2)
        return _attend_in_buckets(*inputs, packing, SCALE, 0.4, Reach())

    assert torch.autograd.gradcheck(same_masks, made_up(lengths), fast_mode=True)


def test_bfloat16_stays_close_to_float64():
    lengths = [2, 5, 16, 20]
    packing, upstream = Packing(torch.tensor(lengths)), torch.randn(43, HEADS, WIDTH)
    results = []
    for dtype in (torch.bfloat16, torch.float64):
        inputs = made_up(lengths, dtype)
        torch.manual_seed(3)
        context = _attend_in_buckets(*inputs, packing, SCALE, 0.1, Reach())
        results.append([context, *torch.autograd.grad(context, inputs, upstream.to(dtype))])
    for low, exact in zip(*results, strict=True):
        torch.testing.assert_close(low.double(), exact, atol=0.05, rtol=0.05)


def test_padding_is_neither_read_nor_written():
    # Were a padded place read, its infinite value would show.
    lengths = torch.tensor([1, 17])
    buckets = Buckets.of(lengths, HEADS)
    assert [(b.rows, b.width) for b in buckets.buckets] == [(1, 16), (1, 32)]
    assert sorted(set(buckets.buckets[0].index.tolist())) == list(range(HEADS))
    for bucket in buckets.buckets:
        assert bucket.real is not None
        assert int(bucket.real.sum()) in (1, 17)
    inputs = made_up(lengths.tolist())
    visible = [b.real[:, None, None] for b in buckets.buckets]
    whole = attend(*inputs, buckets, visible, SCALE, 0.0)
    first = _attend_in_buckets(*(x[:1] for x in inputs), Packing(lengths[:1]), SCALE, 0.0, Reach())
    torch.testing.assert_close(whole[:1], first)


def test_a_narrower_rotation_is_cast_to_the_values():
    query, key, value = made_up([4], torch.bfloat16)
    out = _attend_in_buckets(
        query.float(), key.float(), value, Packing(torch.tensor([4])), SCALE, 0.0, Reach()
    )
    assert out.dtype == torch.bfloat16


def test_large_buckets_are_cut_and_nothing_else_changes(monkeypatch):
    lengths = [3, 5, 7, 9, 16, 20, 30, 32]
    inputs, packing = made_up(lengths), Packing(torch.tensor(lengths), torch.arange(122) % 7 != 3)
    whole = _attend_in_buckets(*inputs, packing, SCALE, 0.0, Reach(6))
    expected = torch.autograd.grad(whole.sum(), inputs)
    monkeypatch.setattr(bucketed_attention, "_SCORES", 2 * HEADS * 16 * 16)
    packing = Packing(packing.lengths, packing.attend)
    buckets = packing.buckets(HEADS).buckets
    assert [(b.rows, b.width) for b in buckets] == [(2, 16), (2, 16), (1, 16)] + 3 * [(1, 32)]
    cut = _attend_in_buckets(*inputs, packing, SCALE, 0.0, Reach(6))
    torch.testing.assert_close(cut, whole)
    for ours, theirs in zip(torch.autograd.grad(cut.sum(), inputs), expected, strict=True):
        torch.testing.assert_close(ours, theirs)
