"""Triplet loss over triplets that come as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from textcl.distributed import ALONE, World
from textcl.objectives.neighbours import Distance, prepared, rowwise
from textcl.objectives.triplet import Reduction, hinge
from textcl.objectives.weights import row_weights, weighted
from textcl.types import ABSENT, Batch, Embeddings, LossOutput


class GivenTriplets(nn.Module):
    """[d(a, p) - d(a, n) + margin]₊ over triplets that come as rows.

    Args:
        margin: By how much the negative must be farther than the positive.
        distance: How rows are compared.
        swap: Use d(p, n) in place of d(a, n) where it is smaller.
        smooth: ln(1 + eᵛ) in place of [v]₊.
        reduction: "mean" over all triplets, "avg_nonzero" over those with a loss above 0.
        names: Anchor, positive, and the negatives, each of which makes a triplet; one of identity `ABSENT` does not.
        world: The processes that train together.

    Source: Schroff et al. 2015, https://arxiv.org/abs/1503.03832
    """

    def __init__(
        self,
        margin: float = 1.0,
        *,
        distance: Distance = "euclidean",
        swap: bool = False,
        smooth: bool = False,
        reduction: Reduction = "mean",
        names: Sequence[str] = ("anchor", "positive", "negative"),
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.margin, self.swap, self.smooth = margin, swap, smooth
        self.distance: Distance = distance
        self.reduction, self.names, self.world = reduction, names, world

    def items(self, batch: Batch, views: Mapping[str, str]) -> float | None:
        """Triplets of a batch, times the weights of their rows; unknown for "avg_nonzero"; see `Counted`."""
        if self.reduction == "avg_nonzero":
            return None
        present = torch.stack([batch.groups[views[name]] != ABSENT for name in self.names[2:]])
        return float((present.sum(0) * row_weights(batch)).sum())

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the batch."""
        anchor, positive, *negatives = (prepared(z[name], self.distance) for name in self.names)
        near = rowwise(anchor, positive, self.distance)
        values = counts = torch.zeros_like(near)
        for name, negative in zip(self.names[2:], negatives, strict=True):
            far = rowwise(anchor, negative, self.distance)
            if self.swap:
                far = torch.minimum(far, rowwise(positive, negative, self.distance))
            loss = hinge(near - far + self.margin, self.smooth)
            present = z.group(name) != ABSENT
            counted = present & (loss > 0) if self.reduction == "avg_nonzero" else present
            values = values + torch.where(present, loss, 0.0)
            counts = counts + counted.to(loss.dtype)
        terms = {"triplets": counts.detach().sum()}
        values, counts = weighted(z, values, counts)
        return LossOutput(self.world.mean(values, counts, z.items.get(self)), terms)
