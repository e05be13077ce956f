"""Attention of a packed batch on a GPU: without padding where a kernel takes such rows, else padded."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from textcl.encoder.packing.places import Packing
from textcl.encoder.packing.reach import Reach

try:
    from torch.nn.attention.varlen import varlen_attn

    if not {"scale", "window_size"} <= signature(varlen_attn).parameters.keys():
        varlen_attn = None  # of torch 2.10, which has neither
except ImportError:
    varlen_attn = None

flash_forward = torch.ops.aten._flash_attention_forward
"""Forward pass of flash attention over rows without padding; autograd knows its backward pass."""

# Up to so many rows it is faster than rows that are padded, and above where rows are longer than so many tokens. On an
# H200, 12 heads of 64, bfloat16, forward and backward: 0.51 against 0.84 ms at 128 rows of 16 tokens, 0.34 against 0.86
# at 128 rows of 128, and 1.50 against 0.91 at 1,024 rows of 16. What lies between is estimated.
_FEW_ROWS, _LONG_ROW = 512, 32


def attention_for(value: Tensor, packing: Packing, dropout: float) -> Callable[..., Tensor]:
    """The kind of attention for rows on a GPU.

    Args:
        value: Values of the packed rows, with their heads.
        packing: Where the rows lie.
        dropout: Probability to drop an attention probability.
    """
    if packing.attend is not None or not takes_packed(value):
        return attend_padded
    if not dropout and varlen_attn is not None:
        return attend_varlen
    few = len(packing.lengths) <= _FEW_ROWS or packing.longest > _LONG_ROW
    return attend_flash if few else attend_padded


def takes_packed(value: Float[Tensor, "B H L d"]) -> bool:
    """Whether flash attention over rows without padding takes values like these."""
    return (
        value.device.type == "cuda"
        and value.dtype in (torch.bfloat16, torch.float16)
        and value.shape[-1] % 8 == 0
        and value.shape[-1] <= 256
        and torch.backends.cuda.is_flash_attention_available()
        and torch.cuda.get_device_capability(value.device) >= (8, 0)
    )


def attend_varlen(
    query: Float[Tensor, "T H d"],
    key: Float[Tensor, "T H d"],
    value: Float[Tensor, "T H d"],
    packing: Packing,
    scale: float,
    dropout: float,
    reach: Reach,
) -> Float[Tensor, "T H d"]:
    """Flash attention over the rows without padding, and without dropout."""
    offsets, longest = packing.places_on(query.device).offsets, packing.longest
    query, key = query.to(value.dtype), key.to(value.dtype)  # a rotation may have widened them
    return varlen_attn(  # pyright: ignore[reportOptionalCall, reportReturnType]
        query,
        key,
        value,
        offsets,
        offsets,
        longest,
        longest,
        scale=scale,
        window_size=reach.sides,
    )


def attend_flash(
    query: Float[Tensor, "T H d"],
    key: Float[Tensor, "T H d"],
    value: Float[Tensor, "T H d"],
    packing: Packing,
    scale: float,
    dropout: float,
    reach: Reach,
) -> Float[Tensor, "T H d"]:
    """Flash attention over the rows without padding, with dropout, by the operator behind torch's own attention."""
    offsets, longest = packing.places_on(query.device).offsets, packing.longest
    left, right = reach.sides
    query, key = query.to(value.dtype), key.to(value.dtype)
    return flash_forward(
        query,
        key,
        value,
        offsets,
        offsets,
        longest,
        longest,
        dropout,
        reach.causal,
        False,
        scale=scale,
        window_size_left=left,
        window_size_right=right,
    )[0]


def attend_padded(
    query: Float[Tensor, "T H d"],
    key: Float[Tensor, "T H d"],
    value: Float[Tensor, "T H d"],
    packing: Packing,
    scale: float,
    dropout: float,
    reach: Reach,
) -> Float[Tensor, "T H d"]:
    """Attention over the rows padded to the longest."""
    rows, width = len(packing.lengths), packing.longest
    real = packing.places_on(query.device).padded
    mask = packing.visible(query.device, reach)
    q, k, v = (
        x.new_zeros(rows * width, *x.shape[1:])
        .index_copy(0, real, x)
        .view(rows, width, *x.shape[1:])
        .transpose(1, 2)
        for x in (query, key, value)
    )
    context = F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, dropout_p=dropout, scale=scale
    )
    return context.transpose(1, 2).flatten(0, 1).index_select(0, real)
