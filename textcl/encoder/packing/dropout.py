"""Dropout that costs little on a CPU: the distribution of torch's, from bulk random bits.

torch draws one Bernoulli number after another, which takes about half of the forward pass of a small encoder. Here
one seed comes from torch's default generator, so that a saved generator state repeats the masks, and a fast generator
makes 16 random bits an element from it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

STEPS = 1 << 16
"""The resolution of a probability: it is a multiple of one in so many."""


def dropout(x: Float[Tensor, " ..."], p: float, training: bool = True) -> Float[Tensor, " ..."]:
    """Zero each element with probability `p` and scale the others so that the mean stays.

    On a CPU the probability is rounded to a multiple of 2^-16, and the scale is exact for the rounded one. Elsewhere
    this is torch's own dropout.

    Args:
        x: Numbers of one or more dimensions.
        p: Probability in [0, 1] to drop an element.
        training: Whether to drop at all.

    Returns:
        As `x`.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(x, p, training)
    dropped = steps_of(p)
    if not training or not dropped or not x.numel():
        return x
    return _Dropout.apply(x, dropped)  # pyright: ignore[reportReturnType]


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` by `dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        """See `dropout`."""
        return dropout(input, self.p, self.training)


def use_fast_dropout(model: nn.Module) -> None:
    """Turn every `torch.nn.Dropout` inside a model into a `Dropout`; names and weights stay."""
    for module in model.modules():
        if type(module) is nn.Dropout and not module.inplace:
            module.__class__ = Dropout


def has_dropout(model: nn.Module) -> bool:
    """Whether a model in training mode gives other vectors each time; hooks may drop, too."""
    return any(
        (isinstance(module, nn.Dropout) and module.p > 0)
        or (isinstance(rate := getattr(module, "attention_dropout", 0), float) and rate > 0)
        or bool(module._forward_pre_hooks)  # pyright: ignore[reportPrivateUsage]
        for module in model.modules()
    )


def draw_mask(count: int, dropped: int) -> UInt8[Tensor, " count"]:
    """1 for each element that is kept, 0 with probability `dropped` / 2^16."""
    seed = int(torch.randint(2**63 - 1, ()))
    words = np.random.SFC64(seed).random_raw(-(-count // 4))
    keep = words.view(np.uint16)[:count] >= dropped
    return torch.from_numpy(keep.view(np.uint8))


def steps_of(p: float) -> int:
    """The probability in steps of 2^-16, as `draw_mask` takes it.

    Only 1 itself drops everything, because then there is no scale.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"the probability to drop an element must be between 0 and 1, not {p}")
    return STEPS if p == 1 else min(round(p * STEPS), STEPS - 1)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dropped: int) -> Tensor:
        if dropped == STEPS:
            keep, ctx.scale = torch.zeros(x.shape, dtype=torch.uint8), 0.0
        else:
            keep, ctx.scale = (
                draw_mask(x.numel(), dropped).view(x.shape),
                STEPS / (STEPS - dropped),
            )
        ctx.save_for_backward(keep)
        # Scaled in a second step: the scale itself rounded to bfloat16 would be wrong by up to 0.4 %.
        return (x * keep.to(x.dtype)).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,), (keep,) = gradients, ctx.saved_tensors
        return (gradient * keep.to(gradient.dtype)).mul_(ctx.scale), None
