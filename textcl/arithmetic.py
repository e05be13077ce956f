"""Arithmetic that several wings share: unit rows, wide precision, and exact shares of whole numbers."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def unit(x: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
    """Rows of length 1, in float32 or wider; a zero row stays zero."""
    with torch.autocast(x.device.type, enabled=False):
        return torch.nn.functional.normalize(widen(x), dim=-1, eps=1e-12)


def unit_rows(rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
    """Rows of length 1 in their own precision; a zero row stays zero."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def widen(x: Tensor) -> Tensor:
    """Half precision becomes float32; float64 stays."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


@lru_cache
def exact_fraction(share: float) -> Fraction:
    """The decimal number that a float was written as: 0.29 is 29/100, not the binary number beside it.

    Raises:
        ValueError: If it is not finite.
    """
    return Fraction(repr(float(share)))


def exact_floor(share: float, n: int) -> int:
    """The largest whole number up to share × n, where `int(0.29 * 100)` would be 28."""
    return math.floor(exact_fraction(share) * n)
