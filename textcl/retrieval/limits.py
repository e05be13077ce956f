"""Comparing coarse products, which may be whole numbers or bfloat16, with a limit for each query."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor


def lowest(dtype: torch.dtype) -> float:
    """What marks a row that does not count."""
    return -torch.inf if dtype.is_floating_point else torch.iinfo(dtype).min


def as_numbers(limits: Float[Tensor, " Q"], dtype: torch.dtype) -> Num[Tensor, " Q"]:
    """Limits in the arithmetic of products: no product that reached its limit before it was rounded is below."""
    if dtype.is_floating_point:
        return limits.to(dtype)  # rounding keeps the order
    return limits.double().floor().clamp(lowest(dtype), torch.iinfo(dtype).max).to(dtype)


def at_least(numbers: Num[Tensor, "Q n"], limits: Num[Tensor, " Q"]) -> Bool[Tensor, "Q n"]:
    """Mask of the numbers that reach the limit of their query; the lowest of all never does."""
    if numbers.dtype.is_floating_point:
        limits = limits.clamp(min=torch.finfo(numbers.dtype).min)
    else:
        limits = limits.clamp(min=lowest(numbers.dtype) + 1)
    if numbers.device.type != "cpu":
        return numbers >= limits[:, None]
    if numbers.dtype == torch.bfloat16:
        # whole numbers in the order of bfloat16 are compared many times as fast
        positive = bool((limits > 0).all())
        numbers, limits = numbers.view(torch.int16), limits.view(torch.int16)
        if not positive:
            numbers, limits = _ordered(numbers), _ordered(limits)
            limits = limits - (limits == 0).to(torch.int16)  # −0 is not below 0
    return torch.from_numpy(numbers.numpy() >= limits[:, None].numpy())


def _ordered(bits: Tensor) -> Tensor:
    """The bits of bfloat16 as whole numbers of the same order, negative ones among them."""
    return bits ^ ((bits >> 15) & 0x7FFF)


def kth_largest(table: Num[Tensor, "Q w"], k: int) -> Num[Tensor, " Q"]:
    """The k-th largest value of every row."""
    if table.device.type != "cpu":
        return table.topk(k, dim=1).values[:, -1]
    wide = table.float() if table.dtype == torch.bfloat16 else table
    place = wide.shape[1] - k
    values = np.partition(wide.numpy(), place, axis=1)[:, place]  # ten times as fast as `topk`
    return torch.from_numpy(values.copy()).to(table.dtype)
