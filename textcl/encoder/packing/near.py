"""Attention within a window over long rows: block by block of queries, each over the keys in its reach alone.

A mask over all pairs of places would have as many entries as the product of both, of which a window leaves few.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from textcl.encoder.packing.reach import Reach

SHORTEST = 1024
"""Tokens of the shortest row that is taken in blocks, if the window is less than a quarter of it."""

_BLOCK = 512


def pays(reach: Reach, length: int) -> bool:
    """Whether rows of this length are taken in blocks."""
    return reach.window is not None and length >= max(SHORTEST, 4 * reach.window)


def attend_near(
    query: Float[Tensor, "B H L d"],
    key: Float[Tensor, "B H L d"],
    value: Float[Tensor, "B H L d"],
    scale: float,
    reach: Reach,
) -> Float[Tensor, "B H L d"]:
    """Contexts of every token.

    Args:
        query: Of B rows of L tokens.
        key: Of the same.
        value: Of the same.
        scale: Of the products.
        reach: With a window.
    """
    length, (behind, ahead) = query.shape[-2], reach.sides
    contexts: list[Tensor] = []
    for start in range(0, length, _BLOCK):
        asking = range(start, min(start + _BLOCK, length))
        asked = range(max(0, start - behind), min(asking.stop + ahead, length))
        near = slice(asked.start, asked.stop)
        contexts.append(
            F.scaled_dot_product_attention(
                query[..., asking.start : asking.stop, :],
                key[..., near, :],
                value[..., near, :],
                attn_mask=reach.between(asking, asked, query.device),
                scale=scale,
            )
        )
    return torch.cat(contexts, dim=-2)
