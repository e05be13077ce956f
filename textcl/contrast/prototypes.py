"""Clusterings that a run keeps, and their centres as candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from textcl.distributed import ALONE, World


@dataclass(frozen=True)
class Clusters:
    """One clustering of the data.

    Args:
        centroids: Raw centres.
        density: Temperature φ of each centre.
        assignment: Cluster of each row of the data.
    """

    centroids: Float[Tensor, "C D"]
    density: Float[Tensor, " C"]
    assignment: Int[Tensor, " N"]

    @property
    def occupied(self) -> Bool[Tensor, " C"]:
        """Mask of the clusters that hold a row."""
        none = self.assignment.new_zeros(len(self.centroids), dtype=torch.bool)
        return none.index_fill(0, self.assignment, True)


class Prototypes(nn.Module):
    """Clusterings of the training rows; empty until they are filled.

    How many rows and clusters there are is known when the rows are clustered, so the buffers take their sizes from what
    is filled in or loaded.

    Args:
        levels: Number of clusterings.
        dimension: Width of a centre.

    Attributes:
        epoch: The epoch they were made for; -1 while they are empty.

    Source: Li et al. 2021, https://arxiv.org/abs/2005.04966
    """

    def __init__(self, levels: int, dimension: int) -> None:
        super().__init__()
        self.count, self.epoch = levels, -1
        for level in range(levels):
            self.register_buffer(f"centroids_{level}", torch.zeros(0, dimension))
            self.register_buffer(f"density_{level}", torch.ones(0))
            self.register_buffer(f"assignment_{level}", torch.zeros(0, dtype=torch.long))
        self.register_load_state_dict_pre_hook(_take_sizes)

    @property
    def levels(self) -> list[Clusters]:
        """All clusterings; none while nothing was filled in."""
        return [self._level(level) for level in range(self.count) if self.epoch >= 0]

    @torch.no_grad()
    def fill(self, levels: Sequence[Clusters] | None, epoch: int = 0, world: World = ALONE) -> None:
        """Store new clusterings.

        Args:
            levels: As many as asked for when made. Only those of rank 0 are read; None on other ranks.
            epoch: The epoch they are for.
            world: The processes that train together; all of them get what rank 0 has.
        """
        if world.rank == 0 and (levels is None or len(levels) != self.count):
            raise ValueError(f"rank 0 must fill in {self.count} clusterings")
        for name, buffer in list(self.named_buffers()):
            given = buffer[:0]
            if world.rank == 0 and levels is not None:
                kind, level = name.split("_")
                given = getattr(levels[int(level)], kind).to(buffer).clone()
            setattr(self, name, world.gather(given))
        self.epoch = epoch

    def get_extra_state(self) -> Tensor:
        """The epoch, as a tensor so that any checkpoint format holds it."""
        return torch.tensor(self.epoch)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the epoch."""
        self.epoch = int(state)

    def _level(self, level: int) -> Clusters:
        kinds = ("centroids", "density", "assignment")
        return Clusters(*(self.get_buffer(f"{kind}_{level}") for kind in kinds))


def _take_sizes(
    module: nn.Module, state_dict: Mapping[str, Tensor], prefix: str, *_: object
) -> None:
    for name, buffer in list(module.named_buffers()):
        stored = state_dict.get(prefix + name)
        if stored is not None:
            setattr(module, name, buffer.new_empty(stored.shape))
