"""The losses of the batches since the last line of the log, kept on their device until it is written."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from textcl.distributed import World
from textcl.types import LossOutput


class Losses:
    """Losses of this process; they are in its checkpoint, so that a resumed run logs the same means."""

    def __init__(self) -> None:
        self._values: list[Tensor] = []

    def add(self, output: LossOutput) -> None:
        """One batch more, without waiting for the device."""
        self._values.append(output.loss.detach())

    def mean(self, world: World) -> float:
        """The mean over batches and processes; the batches are forgotten."""
        mean = torch.stack(self._values).mean()
        self._values = []
        return float(world.sum(mean) / world.size)

    def all(self) -> Float[Tensor, " n"]:
        """The losses in their order."""
        return torch.stack(self._values) if self._values else torch.zeros(0)

    def put_back(self, values: Float[Tensor, " n"]) -> None:
        """Go on from what `all` gave."""
        self._values = list(values)
