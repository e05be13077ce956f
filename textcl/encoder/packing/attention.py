"""Attention of a packed batch: each row attends to itself alone.

Rows are sorted by length, so that attention runs once per length over a plain slice; in training on a CPU once for all
lengths up to the next multiple of 16. On CUDA flash attention takes the rows as they lie, and where it does not
(dropout, hidden tokens, float32) they are padded for the attention alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from textcl.encoder.packing import buckets as bucketed_attention
from textcl.encoder.packing import card, near
from textcl.encoder.packing.places import Packing as Packing
from textcl.encoder.packing.reach import Reach, visible_keys

NAME = "textcl_packed"
"""Name of this attention in transformers."""

_SHORT = 128  # tokens up to which plain products beat the fused attention on CPUs in bfloat16

# Rows that are multiplied together there. oneDNN makes a kernel of about half a MiB for every number of rows and
# tokens that it meets and keeps a thousand: with one number of rows there is one pair of kernels for each length. Where
# there are fewer rows they go through the fused attention in float32, which makes none.
_ROWS = 16


def _attention(
    module: torch.nn.Module,
    query: Float[Tensor, "B H L d"],
    key: Float[Tensor, "B K L d"],
    value: Float[Tensor, "B K L d"],
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    packing: Packing | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[Float[Tensor, "B L H d"], None]:
    """Attention inside each row of a packed batch; without a packing, transformers' own."""
    if packing is None:
        return sdpa_attention_forward(
            module,
            query,
            key,
            value,
            attention_mask,
            dropout=dropout,
            scaling=scaling,
            is_causal=is_causal,
            **kwargs,
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    attend = _attention_for(query, value, packing, dropout)
    # squeezed and not indexed, because the backward pass of an index fills a whole tensor
    q, k, v = (x.squeeze(0).transpose(0, 1) for x in (query, key, value))
    k, v = (_for_each_head(x, q.shape[1]) for x in (k, v))
    reach = Reach.of(module, is_causal, sliding_window)
    return attend(q, k, v, packing, scale, dropout, reach)[None], None


def _for_each_head(x: Float[Tensor, "T K d"], heads: int) -> Float[Tensor, "T H d"]:
    """Keys or values that several heads share, once for each of them."""
    shared = heads // x.shape[1]
    return x if shared == 1 else x.repeat_interleave(shared, 1)


def _attention_for(
    query: Tensor, value: Tensor, packing: Packing, dropout: float
) -> Callable[..., Tensor]:
    if query.device.type != "cpu":
        return card.attention_for(value, packing, dropout)
    # Measured at lengths 4 to 512: the backward pass of the fused kernel is several times slower in bfloat16 than
    # plain products on CPUs, and with dropout it is no faster.
    needs_grad = torch.is_grad_enabled() and query.requires_grad
    plain = dropout or (needs_grad and query.dtype == torch.bfloat16)
    return _attend_in_buckets if plain else _attend_by_length


def _attend_by_length(
    query: Float[Tensor, "T H d"],
    key: Float[Tensor, "T H d"],
    value: Float[Tensor, "T H d"],
    packing: Packing,
    scale: float,
    dropout: float,
    reach: Reach,
) -> Float[Tensor, "T H d"]:
    sizes = [rows * length for rows, length in packing.groups]
    contexts: list[Tensor] = []
    attend = [None] * len(sizes) if packing.attend is None else packing.attend.split(sizes)
    slices = zip(*(x.split(sizes) for x in (query, key, value)), strict=True)
    for (rows, length), group, seen in zip(packing.groups, slices, attend, strict=True):
        q, k, v = (x.view(rows, length, *x.shape[1:]).transpose(1, 2) for x in group)
        if seen is None and near.pays(reach, length):
            contexts.append(near.attend_near(q, k, v, scale, reach).transpose(1, 2).flatten(0, 1))
            continue
        # the fused attention skips what is behind a token, where no mask says more
        causal = reach.causal and seen is None and not reach.cuts(length)
        mask = None if causal else reach.mask(length)
        if seen is not None:
            mask = visible_keys(seen.view(rows, 1, 1, length), mask)
        contexts.append(_attend(q, k, v, mask, scale, causal).transpose(1, 2).flatten(0, 1))
    return torch.cat(contexts)


def _attend(
    query: Float[Tensor, "B H L d"],
    key: Float[Tensor, "B H L d"],
    value: Float[Tensor, "B H L d"],
    mask: Bool[Tensor, "_ 1 _ L"] | None,
    scale: float,
    causal: bool,
) -> Float[Tensor, "B H L d"]:
    # Measured at lengths 4 to 512: in bfloat16 the fused kernel is slower than plain products on CPUs up to 128 tokens.
    if query.dtype != torch.bfloat16 or query.shape[-2] > _SHORT:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=causal, scale=scale
        )
    rows, contexts = len(query), torch.empty_like(query)
    if rows < _ROWS:
        return _fused(query, key, value, mask, scale, causal)
    mask = Reach(causal=True).mask(query.shape[-2]) if causal else mask
    for start in (*range(0, rows - _ROWS, _ROWS), rows - _ROWS):  # the last ones overlap
        part = slice(start, start + _ROWS)
        seen = mask if mask is None or len(mask) == 1 else mask[part]
        contexts[part] = _products(query[part], key[part], value[part], seen, scale)
    return contexts


def _products(
    query: Float[Tensor, "B H L d"],
    key: Float[Tensor, "B H L d"],
    value: Float[Tensor, "B H L d"],
    mask: Bool[Tensor, "_ 1 _ L"] | None,
    scale: float,
) -> Float[Tensor, "B H L d"]:
    scores = (query * scale) @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1) @ value


def _fused(
    query: Float[Tensor, "B H L d"],
    key: Float[Tensor, "B H L d"],
    value: Float[Tensor, "B H L d"],
    mask: Bool[Tensor, "_ 1 _ L"] | None,
    scale: float,
    causal: bool,
) -> Float[Tensor, "B H L d"]:
    q, k, v = query.float(), key.float(), value.float()
    wide = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=scale)
    return wide.to(query.dtype)


def _attend_in_buckets(
    query: Float[Tensor, "T H d"],
    key: Float[Tensor, "T H d"],
    value: Float[Tensor, "T H d"],
    packing: Packing,
    scale: float,
    dropout: float,
    reach: Reach,
) -> Float[Tensor, "T H d"]:
    buckets = packing.buckets(query.shape[1])
    visible: list[Tensor | None] = []
    start = 0
    for bucket in buckets.buckets:
        close, keys = reach.mask(bucket.width), bucket.real
        if packing.attend is not None:
            real = packing.mask[start : start + bucket.rows, : bucket.width]
            real = F.pad(real, (0, bucket.width - real.shape[1]))
            keys = torch.zeros_like(real).masked_scatter_(
                real, packing.attend[_tokens(packing, start) :]
            )
        elif keys is None and close is not None:
            keys = close.new_ones(bucket.rows, bucket.width)
        visible.append(None if keys is None else visible_keys(keys[:, None, None], close))
        start += bucket.rows
    return bucketed_attention.attend(query, key, value, buckets, visible, scale, dropout)


def _tokens(packing: Packing, rows: int) -> int:
    """Tokens of the first rows."""
    return int(packing.lengths[:rows].sum())


AttentionInterface.register(NAME, _attention)


AttentionMaskInterface.register(NAME, sdpa_mask)
