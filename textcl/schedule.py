"""Progress of a training, for numbers that move with it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class FollowsProgress(nn.Module):
    """Base of a number that moves while training goes on.

    The share of the training that is done is a buffer, so that checkpoints hold it, and a number of the host beside it:
    reading a buffer would wait for the device in every update.

    Attributes:
        done: Share of the training that is done, in [0, 1].
    """

    progress: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.done = 0.0
        self.register_buffer("progress", torch.zeros((), dtype=torch.float64))
        self.register_load_state_dict_post_hook(_read)

    def move(self, progress: float) -> None:
        """Set how much of the training is done; clamped to [0, 1]."""
        self.done = min(max(progress, 0.0), 1.0)
        self.progress.fill_(self.done)


def _read(module: nn.Module, _keys: object) -> None:
    assert isinstance(module, FollowsProgress)
    module.done = float(module.progress)


class Annealed(FollowsProgress):
    """A number that falls to 0 in equal steps while training goes on, and is 0 in the last stage.

    Args:
        start: The number in the first stage.
        stages: Equal shares of the training, at least 2.

    Source: the annealing of Robinson et al. 2021, https://arxiv.org/abs/2010.04592

    Note: The authors' code stays one stage behind, so that its number reaches 0 only when training is over.
    """

    def __init__(self, start: float, stages: int = 9) -> None:
        super().__init__()
        self.start, self.stages = start, stages

    def forward(self) -> float:
        """The number now."""
        stage = min(math.floor(self.done * self.stages), self.stages - 1)
        return self.start * (1 - stage / (self.stages - 1))
