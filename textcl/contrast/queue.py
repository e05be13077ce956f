"""A queue of keys, which outlives a batch, and its columns in the table.

Both hold buffers, so that a checkpoint restores them; only hooks write into them, never an objective.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from textcl.arithmetic import unit
from textcl.contrast.table import Contrast
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

    Source: He et al. 2020, https://arxiv.org/abs/1911.05722

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

    Source: Wu et al. 2022, https://arxiv.org/abs/2109.04380
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
        return contrast.with_columns(unit(self.queue.keys[:, :width]), self.queue.groups)
