"""Pooling of padded rows, as other libraries hold them, by the pooling of packed ones."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from textcl.encoder.pooling import check_pooling, layers_of, pool, pool_all_positions


def pool_padded(
    hidden: Float[Tensor, "layers B L D"], mask: Shaped[Tensor, "B L"], pooling: str
) -> Float[Tensor, "B _"]:
    """One vector per padded row.

    Args:
        hidden: Hidden states of every layer, the embedding output first.
        mask: 1 (or True) on real tokens.
        pooling: As in `pool`; also "mean_all", the mean over all positions, padding included.

    Returns:
        Vectors in float32 or wider; zeros for a row whose mask is all zero.
    """
    real = mask.to(torch.bool)
    if pooling == "mean_all":
        return pool_all_positions(hidden[-1], real)
    packed = {layer: hidden[layer][real] for layer in layers_of(check_pooling(pooling))}
    return pool(packed, real.sum(1).cpu(), pooling)
