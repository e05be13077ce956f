"""Poolings of padded rows as weighted sums over positions, which every graph library has."""

from __future__ import annotations

import torch
from torch import Tensor


def pooled(hidden: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """(B, L, D) to (B, D); zeros for a row whose mask is all zero."""
    if pooling == "max":
        lowest = hidden.masked_fill(mask[..., None] == 0, torch.finfo(hidden.dtype).min)
        return lowest.amax(1) * mask.amax(1, keepdim=True)
    # No matrix product: quantisers would cut the weights at the largest that they saw, those of short rows.
    return (_weights(mask, pooling).to(hidden)[..., None] * hidden).sum(1)


def _weights(mask: Tensor, pooling: str) -> Tensor:
    """The weight of each position, (B, L)."""
    real, place = mask.float(), mask.cumsum(1)  # the first real token has place 1
    length = real.sum(1, keepdim=True)
    if pooling in {"cls", "cls_pooler"}:
        return real * (place == 1)
    if pooling == "lasttoken":
        return real * (place == length)
    if pooling == "first_token":  # a row of one token has no second one
        return real * (place == length.clamp(max=2))
    if pooling == "weightedmean":
        return real * place / (length * (length + 1) / 2).clamp(min=1)
    scale = length.sqrt() if pooling == "mean_sqrt_len_tokens" else length
    return real / scale.clamp(min=1)
