"""How SimCSE's code trains on several processes: the whole loss everywhere, gradients for the own rows only."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from textcl.distributed import World
from textcl.types import Embeddings, LossOutput


class OwnGradient(nn.Module):
    """Every process evaluates the loss of the whole batch, and sends a gradient into its own rows only.

    The gradient of a process's rows is that of the whole batch, so that averaging parameter gradients over N processes
    gives 1/N of it. Objectives that are given a world themselves need no such factor; this is for reproducing runs.

    Args:
        objective: Any objective, built for one process alone.
        world: The processes that train together.

    Source: Gao et al. 2021, https://arxiv.org/abs/2104.08821
    """

    def __init__(self, objective: nn.Module, world: World) -> None:
        super().__init__()
        self.objective, self.world = objective, world

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the whole batch."""
        gather, first = self.world.gather, self.world.offset(len(z))

        def everyones(x: Tensor) -> Tensor:
            table = gather(x.detach())
            return torch.cat([table[:first], x, table[first + len(x) :]])

        whole = Embeddings(
            {name: everyones(x) for name, x in z.by_name.items()},
            gather(z.rows),
            {name: gather(group) for name, group in z.groups.items()},
            None if z.labels is None else gather(z.labels),
            None if z.scores is None else gather(z.scores),
        )
        return self.objective(whole)
