"""What outlives a batch: the queue of keys, and the prototypes of a clustering.

Both hold buffers, so that a checkpoint restores them; only hooks write into them, never an objective.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from textcl.arithmetic import unit
from textcl.contrast import Contrast
from textcl.distributed import ALONE, World
from textcl.types import Embeddings

NO_GROUP = -1
"""Text identity of a key whose text is not known; equal to none."""


class MemoryQueue(nn.Module):
    """The newest keys, oldest overwritten first.

    Keys are stored as they come, not normalised, so that a Matryoshka objective can cut them to its widths. Where the
    next key goes and how many there are is counted on the host: reading it never waits for a device.

    Args:
        size: Number of keys K.
        dimension: Width of a key.
        start: "filled_only": only keys that were enqueued are used. "random": K random unit rows are used from the
            first step on (He et al.'s code).
        seed: Draws the random rows; the same on all ranks.

    Source: methods.md G.1; He et al. 2020, https://arxiv.org/abs/1911.05722

    Note:
        The official code requires K to be a multiple of the batch. Here writing goes on modulo K, and of a batch larger
        than K the last K keys stay.
    """

    buffer: Tensor
    buffer_groups: Tensor

    def __init__(
        self,
        size: int,
        dimension: int,
        *,
        start: Literal["filled_only", "random"] = "filled_only",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"a queue needs a size of at least 1, not {size}")
        self.size, self.dimension = size, dimension
        random = torch.randn((size, dimension), generator=torch.Generator().manual_seed(seed))
        rows = unit(random) if start == "random" else torch.zeros(size, dimension)
        self.register_buffer("buffer", rows)
        self.register_buffer("buffer_groups", torch.full((size,), NO_GROUP))
        self.pointer, self.filled = 0, size if start == "random" else 0

    @property
    def keys(self) -> Float[Tensor, "Q D"]:
        """Keys that may be used, in the order they are stored."""
        return self.buffer[: self.filled]

    @property
    def groups(self) -> Int[Tensor, " Q"]:
        """Text identity of `keys`."""
        return self.buffer_groups[: self.filled]

    @torch.no_grad()
    def enqueue(self, keys: Float[Tensor, "n D"], groups: Int[Tensor, " n"] | None = None) -> None:
        """Write keys over the oldest ones.

        Args:
            keys: Raw rows.
            groups: Their text identity; unknown when None.
        """
        if groups is None:
            groups = self.buffer_groups.new_full((len(keys),), NO_GROUP)
        count, kept = len(keys), min(len(keys), self.size)
        first = self.pointer + count - kept
        slots = torch.arange(first, first + kept, device=self.buffer.device) % self.size
        self.buffer[slots] = keys[count - kept :].to(self.buffer)
        self.buffer_groups[slots] = groups[count - kept :].to(self.buffer_groups)
        self.pointer = (self.pointer + count) % self.size
        self.filled = min(self.filled + count, self.size)

    def get_extra_state(self) -> Tensor:
        """Pointer and count, as a tensor so that any checkpoint format holds them."""
        return torch.tensor([self.pointer, self.filled])

    def set_extra_state(self, state: Tensor) -> None:
        """Restore pointer and count."""
        self.pointer, self.filled = (int(number) for number in state)


@dataclass(frozen=True)
class AppendQueue:
    """Adds the keys of a queue as negatives of every anchor, cut to the anchors' width.

    Args:
        queue: Where the keys come from. Only a hook writes into it.

    Source: methods.md G.2; Wu et al. 2022, https://arxiv.org/abs/2109.04380
    """

    queue: MemoryQueue

    def __call__(self, contrast: Contrast, z: Embeddings) -> Contrast:
        """The table with the queue at its right end; the same table while the queue is empty."""
        width = contrast.anchors.shape[1]
        if width > self.queue.dimension:
            raise ValueError(
                f"the queue holds keys of {self.queue.dimension} dimensions, the anchors have {width}"
            )
        if not self.queue.filled:
            return contrast
        return contrast.with_queue(unit(self.queue.keys[:, :width]), self.queue.groups)


@dataclass(frozen=True)
class Clusters:
    """One clustering of the data.

    Args:
        centroids: Raw centres.
        density: Temperature φ of each centre (methods.md J).
        assignment: Cluster of each row of the data.
    """

    centroids: Float[Tensor, "C D"]
    density: Float[Tensor, " C"]
    assignment: Int[Tensor, " N"]

    @property
    def occupied(self) -> Bool[Tensor, " C"]:
        """Which clusters hold a row."""
        return torch.bincount(self.assignment, minlength=len(self.centroids)) > 0


class Prototypes(nn.Module):
    """Clusterings of the training rows; empty until they are filled.

    How many rows and clusters there are is known when the rows are clustered, so the buffers take their sizes from what
    is filled in or loaded.

    Args:
        levels: Number of clusterings.
        dimension: Width of a centre.

    Attributes:
        epoch: The epoch they were made for; -1 while they are empty.

    Source: methods.md J; Li et al. 2021, https://arxiv.org/abs/2005.04966
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
