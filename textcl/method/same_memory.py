"""Batches and gradients in the same memory at every step, where a graph of a card finds them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from textcl.transfer import tensors_of, with_tensors
from textcl.types import Batch


class KeptBatch:
    """Memory for the batches of one size.

    Args:
        batch: The first one.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = with_tensors(batch, torch.clone)

    def load(self, batch: Batch) -> Batch:
        """A batch of this size in this memory.

        What the value keeps for itself, such as a mask, does not outlive it.
        """
        for kept, given in zip(tensors_of(self.batch), tensors_of(batch), strict=True):
            kept.copy_(given)
        return with_tensors(self.batch, Tensor.detach)


class KeptGradients:
    """Memory for the gradients of parameters."""

    def __init__(self) -> None:
        self._of: dict[nn.Parameter, Tensor] = {}

    def attach(self, parameters: Sequence[nn.Parameter]) -> None:
        """Have the gradients of parameters in their memory, zero where there is none yet."""
        for parameter in parameters:
            if parameter not in self._of:
                self._of[parameter] = torch.zeros_like(parameter)
        fresh = [self._of[p] for p in parameters if p.grad is None]
        if fresh:
            torch._foreach_zero_(fresh)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        for parameter in parameters:
            kept = self._of[parameter]
            if parameter.grad is not None and parameter.grad is not kept:
                kept.copy_(parameter.grad)
            parameter.grad = kept
