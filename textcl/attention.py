"""Attention inside the rows of a packed batch, forward and backward, for training on a CPU.

Rows of random lengths make many small products, and softmax over a few numbers is slow however it is vectorised. So
rows are padded, for the attention alone, to the next multiple of 16: few products, of widths that the machine likes.
The backward pass is written out, which saves the copies and reductions that autograd would make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from textcl.dropout import STEPS, draw_mask, steps_of

_WIDTH = 16


@dataclass(frozen=True)
class Bucket:
    """Rows of a packed batch that are padded to one width.

    Args:
        rows: How many rows, R.
        width: Their padded length W.
        index: Which of the T x H vectors of a head stands at each (row, head, place); the row's last where it has none.
        real: True where a row has a token, or None where all are full.
    """

    rows: int
    width: int
    index: Int[Tensor, " RHW"]
    real: Bool[Tensor, "R W"] | None


@dataclass(frozen=True)
class Buckets:
    """All rows of a packed batch.

    Args:
        buckets: In the order of the rows.
        back: Where each of the T x H vectors of a head stands among those of all buckets, padding included.
    """

    buckets: tuple[Bucket, ...]
    back: Int[Tensor, " TH"]

    @classmethod
    def of(cls, lengths: Int[Tensor, " B"], heads: int) -> Buckets:
        """Buckets of rows of ascending lengths, none 0."""
        widths, counts = torch.unique_consecutive(-(-lengths // _WIDTH), return_counts=True)
        starts, head = lengths.cumsum(0) - lengths, torch.arange(heads)
        buckets: list[Bucket] = []
        back: list[Tensor] = []
        base = 0
        for width, start, length in zip(
            (widths * _WIDTH).tolist(),
            starts.split(counts.tolist()),
            lengths.split(counts.tolist()),
            strict=True,
        ):
            place, rows = torch.arange(width), len(length)
            token = start[:, None] + torch.minimum(place, length[:, None] - 1)
            real = place < length[:, None]
            index = (token[:, None] * heads + head[:, None]).flatten()
            buckets.append(Bucket(rows, width, index, None if bool(real.all()) else real))
            row, column = real.nonzero(as_tuple=True)
            back.append(base + ((row[:, None] * heads + head) * width + column[:, None]).flatten())
            base += rows * heads * width
        return cls(tuple(buckets), torch.cat(back))


def attend(
    query: Float[Tensor, "T H d"],
    key: Float[Tensor, "T H d"],
    value: Float[Tensor, "T H d"],
    buckets: Buckets,
    visible: list[Bool[Tensor, "_ 1 _ _"] | None],
    scale: float,
    dropout: float,
) -> Float[Tensor, "T H d"]:
    """Contexts of every token.

    Args:
        query: Queries of the packed rows.
        key: Their keys.
        value: Their values.
        buckets: Where the rows lie.
        visible: For each bucket which keys a query attends to, None for all.
        scale: Factor of the scores.
        dropout: Probability to drop an attention probability, below 1.
    """
    query, key = query.to(value.dtype), key.to(value.dtype)  # a rotation may have widened them
    with torch.autocast("cpu", enabled=False):
        return _Attend.apply(query, key, value, buckets, visible, scale, steps_of(dropout))  # pyright: ignore[reportReturnType]


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        buckets: Buckets,
        visible: list[Tensor | None],
        scale: float,
        dropped: int,
    ) -> Tensor:
        heads, width = query.shape[1:]
        contexts: list[Tensor] = []
        kept: list[Tensor] = []
        for bucket, seen in zip(buckets.buckets, visible, strict=True):
            q, k, v = (
                x.reshape(-1, width).index_select(0, bucket.index).view(-1, bucket.width, width)
                for x in (query, key, value)
            )
            probabilities = _softmax(q, k, seen, heads, scale)
            thinned = probabilities
            if dropped:
                keep = draw_mask(thinned.numel(), dropped).view(thinned.shape)
                thinned = thinned * keep.to(thinned.dtype)
            contexts.append(torch.bmm(thinned, v).view(-1, width))
            kept += [q, k, v, probabilities, thinned]
        context = _packed(contexts, buckets, query).mul_(STEPS / (STEPS - dropped))
        ctx.save_for_backward(context, *kept)
        ctx.buckets, ctx.scale, ctx.dropped = buckets, scale, dropped
        return context

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        (gradient,), (context, *kept) = gradients, ctx.saved_tensors
        width = gradient.shape[2]
        # Row sums of probability x its gradient, from the contexts: sum_j P_ij M_ij (g_i . v_j) = g_i . o_i
        inner = _widened(gradient).mul(context).sum(-1).to(context.dtype).flatten()
        gradient = (gradient * (STEPS / (STEPS - ctx.dropped))).reshape(-1, width)
        parts: tuple[list[Tensor], ...] = ([], [], [])
        for bucket, q, k, v, probabilities, thinned in zip(
            ctx.buckets.buckets, *(kept[i::5] for i in range(5)), strict=True
        ):
            g = gradient.index_select(0, bucket.index).view(-1, bucket.width, width)
            subtracted = inner.index_select(0, bucket.index).view(-1, bucket.width, 1)
            if bucket.real is not None:  # nothing comes from the queries of padding
                real = bucket.real.to(g.dtype)[:, None, :, None]
                for x in (g, subtracted):
                    x.view(bucket.rows, -1, bucket.width, x.shape[2]).mul_(real)
            scores = torch.bmm(g, v.transpose(1, 2)).mul_(thinned)
            scores.addcmul_(probabilities, subtracted, value=-1)
            parts[0].append(_product(scores, k, ctx.scale).view(-1, width))
            parts[1].append(_product(scores.transpose(1, 2), q, ctx.scale).view(-1, width))
            parts[2].append(torch.bmm(thinned.transpose(1, 2), g).view(-1, width))
        return *(_packed(x, ctx.buckets, context) for x in parts), None, None, None, None


def _softmax(
    q: Float[Tensor, "RH W d"],
    k: Float[Tensor, "RH W d"],
    seen: Bool[Tensor, "R 1 _ W"] | None,
    heads: int,
    scale: float,
) -> Float[Tensor, "RH W W"]:
    scores = _widened(_product(q, k.transpose(1, 2), scale))
    if seen is not None:
        hidden = torch.zeros(seen.shape, dtype=scores.dtype).masked_fill_(~seen, float("-inf"))
        scores.view(-1, heads, *scores.shape[1:]).add_(hidden)
    return scores.softmax(-1).to(q.dtype)


def _product(a: Float[Tensor, "B L M"], b: Float[Tensor, "B M N"], scale: float) -> Tensor:
    return torch.baddbmm(a.new_empty(()), a, b, beta=0, alpha=scale)


def _packed(parts: list[Tensor], buckets: Buckets, like: Tensor) -> Tensor:
    return torch.cat(parts).index_select(0, buckets.back).view(like.shape)


def _widened(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
