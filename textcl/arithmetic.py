"""Arithmetic on vectors that several wings share: unit rows and wide precision."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def unit(x: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
    """Rows of length 1, in float32 or wider; a zero row stays zero."""
    with torch.autocast(x.device.type, enabled=False):
        return torch.nn.functional.normalize(widen(x), dim=-1, eps=1e-12)


def widen(x: Tensor) -> Tensor:
    """Half precision becomes float32; float64 stays."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
