"""Progress of a training, for numbers that move with it."""

from __future__ import annotations

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
