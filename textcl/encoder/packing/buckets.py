"""Attention inside the rows of a packed batch, forward and backward, for training on a CPU.

Rows of random lengths make many small products, and softmax over a few numbers is slow however it is vectorised. So
rows are padded, for the attention alone, to the next multiple of 16: few products, of widths that the machine likes.
The backward pass is written out, which saves the copies and reductions that autograd would make.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable

from textcl.encoder.packing.dropout import STEPS, draw_mask, steps_of

_WIDTH = 16
_SCORES = (
    1 << 22
)  # of a bucket: larger ones leave the cache, and the C library maps pages anew for blocks above 32 MiB


@dataclass(frozen=True)
class Bucket:
    """Rows of a packed batch that are padded to one width.

    Args:
        rows: How many rows, R.
        width: Their padded length W.
        index: Which of the T x H vectors of a head stands at each (row, head, place); the row's last where it has none.
        query: The same, but T x H where it has none.
        real: True where a row has a token, or None where all are full.
    """

    rows: int
    width: int
    index: Int[Tensor, " RHW"]
    query: Int[Tensor, " RHW"]
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

    @cached_property
    def sizes(self) -> list[int]:
        """Vectors of each bucket, padding included."""
        return [len(bucket.index) for bucket in self.buckets]

    def parts(self, padded: Float[Tensor, "P d"]) -> list[Float[Tensor, "RH W d"]]:
        """The vectors of each bucket, one sequence per row and head."""
        parts = padded.split(self.sizes)
        return [
            part.view(-1, bucket.width, padded.shape[1])
            for part, bucket in zip(parts, self.buckets, strict=True)
        ]

    @classmethod
    def of(cls, lengths: Int[Tensor, " B"], heads: int) -> Buckets:
        """Buckets of rows of ascending lengths, none 0."""
        given, head = lengths.numpy(), np.arange(heads)
        starts, total = given.cumsum() - given, int(given.sum()) * heads
        buckets: list[Bucket] = []
        back: list[np.ndarray] = []
        base = 0
        for width, run in _runs(given, heads):
            start, length, place = starts[run], given[run], np.arange(width)
            token = start[:, None] + np.minimum(place, length[:, None] - 1)
            real = place < length[:, None]
            index = token[:, None] * heads + head[:, None]
            query = np.where(real[:, None], index, total)
            rows = len(length)
            buckets.append(
                Bucket(
                    rows,
                    width,
                    torch.from_numpy(index.ravel()),
                    torch.from_numpy(query.ravel()),
                    None if real.all() else torch.from_numpy(real),
                )
            )
            row, column = real.nonzero()
            back.append(base + ((row[:, None] * heads + head) * width + column[:, None]).ravel())
            base += rows * heads * width
        return cls(tuple(buckets), torch.from_numpy(np.concatenate(back)))


def _runs(lengths: Int64[np.ndarray, " B"], heads: int) -> Iterator[tuple[int, slice]]:
    """Width and rows of each bucket."""
    widths = -(-lengths // _WIDTH) * _WIDTH
    firsts = np.flatnonzero(np.diff(widths, prepend=-1))
    for first, stop in zip(firsts.tolist(), [*firsts[1:].tolist(), len(widths)], strict=True):
        width = int(widths[first])
        most = max(1, _SCORES // (heads * width**2))
        for start in range(first, stop, most):
            yield width, slice(start, min(start + most, stop))


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
        padded = query.new_empty(sum(buckets.sizes), width)
        kept: list[Tensor | None] = []
        for bucket, seen, into in zip(buckets.buckets, visible, buckets.parts(padded), strict=True):
            q, k, v = (
                x.reshape(-1, width).index_select(0, bucket.index).view(-1, bucket.width, width)
                for x in (query, key, value)
            )
            probabilities = _softmax(q, k, seen, heads, scale)
            keep: Tensor | None = None
            thinned = probabilities
            if dropped:
                keep = draw_mask(thinned.numel(), dropped).view(thinned.shape)
                thinned = probabilities * keep.to(q.dtype)
            torch.bmm(thinned, v, out=into)
            kept += [q, k, v, probabilities, keep, thinned]
        ctx.save_for_backward(*kept)
        ctx.buckets, ctx.scale, ctx.dropped = buckets, scale, dropped
        return _packed(padded, buckets, query).mul_(STEPS / (STEPS - dropped))

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        (gradient,), kept, buckets = gradients, ctx.saved_tensors, ctx.buckets
        tokens, heads, width = gradient.shape
        scaled = gradient.new_empty(tokens * heads + 1, width)  # the last row is that of padding
        torch.mul(gradient.reshape(-1, width), STEPS / (STEPS - ctx.dropped), out=scaled[:-1])
        scaled[-1] = 0.0
        padded = [gradient.new_empty(sum(buckets.sizes), width) for _ in range(3)]
        for bucket, q, k, v, probabilities, keep, thinned, *into in zip(
            buckets.buckets,
            *(kept[i::6] for i in range(6)),
            *(buckets.parts(x) for x in padded),
            strict=True,
        ):
            g = scaled.index_select(0, bucket.query).view(-1, bucket.width, width)
            scores = torch.bmm(g, v.transpose(1, 2))
            if keep is not None:
                scores.mul_(keep.to(scores.dtype))
            scores = _softmax_backward(scores, probabilities)
            _product(scores, k, ctx.scale, into[0])
            _product(scores.transpose(1, 2), q, ctx.scale, into[1])
            torch.bmm(thinned.transpose(1, 2), g, out=into[2])
        return *(_packed(x, buckets, gradient) for x in padded), None, None, None, None


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


def _softmax_backward(
    gradient: Float[Tensor, "RH W W"], probabilities: Float[Tensor, "RH W W"]
) -> Float[Tensor, "RH W W"]:
    # widened, which is many times as fast: torch does not vectorise over rows of 16 numbers in bfloat16
    p = _widened(probabilities)
    wide: Tensor = torch.ops.aten._softmax_backward_data(_widened(gradient), p, -1, p.dtype)
    return wide.to(gradient.dtype)


def _product(
    a: Float[Tensor, "B L M"],
    b: Float[Tensor, "B M N"],
    scale: float,
    out: Float[Tensor, "B L N"] | None = None,
) -> Float[Tensor, "B L N"]:
    return torch.baddbmm(a.new_empty(()), a, b, beta=0, alpha=scale, out=out)


def _packed(padded: Float[Tensor, "P d"], buckets: Buckets, like: Tensor) -> Tensor:
    return padded.index_select(0, buckets.back).view(like.shape)


def _widened(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
