"""The predictor of BYOL and SimSiam: the head that keeps them from collapsing."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Predictor(nn.Module):
    """Linear(D, hidden) → norm → ReLU → Linear(hidden, D).

    Args:
        dimension: Width D of the embeddings.
        hidden: Width inside; 4096 in BYOL, 512 in ASCL.
        norm: "batch" as published: rows depend on one another, and a batch needs at least 2. "layer" keeps them apart,
            so that the rows of several processes or of one row alone give the same loss.

    Source: Grill et al. 2020, https://arxiv.org/abs/2006.07733

    Note:
        The BatchNorm keeps no running statistics: nothing ever evaluates a predictor.
    """

    def __init__(
        self, dimension: int, hidden: int = 4096, *, norm: Literal["batch", "layer"] = "batch"
    ) -> None:
        super().__init__()
        self.inwards, self.outwards = nn.Linear(dimension, hidden), nn.Linear(hidden, dimension)
        self.norm = (
            nn.BatchNorm1d(hidden, track_running_stats=False)
            if norm == "batch"
            else nn.LayerNorm(hidden)
        )

    def forward(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """Predictions of the target embeddings."""
        if len(x) < 2 and isinstance(self.norm, nn.BatchNorm1d):
            raise ValueError(
                'a predictor with BatchNorm needs at least 2 rows in a batch; use norm="layer"'
            )
        return self.outwards(torch.relu(self.norm(self.inwards(x))))


def predicted(predictor: nn.Module, x: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
    """Predictions from embeddings, in full precision whatever autocast says."""
    with torch.autocast(x.device.type, enabled=False):
        return predictor(x)
