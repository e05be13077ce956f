"""Losses that a module has already computed row by row, such as those of masked tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from textcl.distributed import ALONE, World
from textcl.types import NO_TARGET, Batch, Embeddings, LossOutput


class RatioOfSums(nn.Module):
    """Σ losses / Σ counts over the rows of all names and all processes; 0 when nothing counts.

    Args:
        names: Embeddings with two columns, a row's summed loss and how many terms it counts for.
        world: The processes that train together.

    Source: Gao et al. 2021, https://arxiv.org/abs/2104.08821, whose code gives NaN if no token is masked
    """

    def __init__(self, names: Sequence[str], world: World = ALONE) -> None:
        super().__init__()
        self.names, self.world = tuple(names), world

    def items(self, batch: Batch, views: Mapping[str, str]) -> float:
        """Masked tokens of the rows of a batch; see `Counted`."""
        changes = [batch.tokens[views[name]].changes for name in self.names]
        targets = [x.targets for x in changes if x is not None and x.targets is not None]
        return float(sum(int((x != NO_TARGET).sum()) for x in targets))

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the batch."""
        losses, counts = torch.stack([z[name] for name in self.names]).sum(0).unbind(1)
        return LossOutput(self.world.mean(losses, counts.detach(), z.items.get(self)))
