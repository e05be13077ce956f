"""Weights of rows, where the data has them: how much each counts in a mean."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from textcl.types import Batch, Embeddings


def weighted(
    z: Embeddings, values: Float[Tensor, " A"], counts: Float[Tensor, " A"]
) -> tuple[Float[Tensor, " A"], Float[Tensor, " A"]]:
    """Losses and counts of anchors times the weights of their rows; as they are where rows have none.

    Args:
        z: The rows.
        values: Loss of each anchor; several blocks of B anchors are those of several views.
        counts: How many terms it counts for.
    """
    if "weight" not in z.given:
        return values, counts
    weight = z.given["weight"].to(values).repeat(len(values) // len(z))
    return values * weight, counts * weight


def row_weights(batch: Batch) -> Float[Tensor, " B"]:
    """Weight of each row; 1 where rows have none."""
    return batch.given.get("weight", torch.ones(len(batch))).double()
