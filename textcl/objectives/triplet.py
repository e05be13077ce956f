"""Triplet loss over a batch with labels: an anchor must be nearer to its positives than to its negatives by a margin.

Two definitions are in use and give different numbers: this one is pytorch-metric-learning's, `batch_triplet` has that
of sentence-transformers. Letters: r anchors of one block, N rows of all ranks, P positives and M negatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor, nn

from textcl.distributed import ALONE, World
from textcl.objectives.neighbours import Distance, LabelledEmbeddings, Neighbours, pairwise
from textcl.types import Embeddings, LossOutput

Mining = Literal["none", "all", "hard", "semihard", "easy", "batch_hard"]
"""Choice of triplets, by their gap g = d(a, n) - d(a, p) and the miner's margin μ: all of them, g ≤ μ, g ≤ 0,
0 < g ≤ μ, g > μ, or for each anchor its farthest positive with its nearest negative."""

Reduction = Literal["avg_nonzero", "mean"]


class TripletMargin(nn.Module):
    """[d(a, p) - d(a, n) + margin]₊ over the triplets of the batch that mining leaves.

    Args:
        margin: By how much a negative must be farther than a positive.
        distance: How rows are compared.
        mining: Which triplets count.
        miner_margin: μ of the miner; the loss's margin when None.
        swap: Use d(p, n) in place of d(a, n) where it is smaller.
        smooth: ln(1 + eᵛ) in place of [v]₊.
        reduction: "avg_nonzero" averages the triplets with a loss above 0, "mean" all of them.
        names: The views, all of them anchors and candidates.
        world: The processes that train together.

    Source: Schroff et al. 2015, https://arxiv.org/abs/1503.03832; Hermans et al. 2017,
        https://arxiv.org/abs/1703.07737; pytorch-metric-learning's TripletMarginLoss
    """

    def __init__(
        self,
        margin: float = 0.05,
        *,
        distance: Distance = "euclidean_unit",
        mining: Mining = "none",
        miner_margin: float | None = None,
        swap: bool = False,
        smooth: bool = False,
        reduction: Reduction = "avg_nonzero",
        names: Sequence[str] = ("anchor",),
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.margin, self.mining = margin, mining
        self.distance: Distance = distance
        self.miner_margin = margin if miner_margin is None else miner_margin
        self.swap, self.smooth, self.reduction = swap, smooth, reduction
        self.names, self.world = tuple(names), world

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the batch."""
        rows = LabelledEmbeddings.of(z, self.names, self.distance, self.world)
        per_anchor = len(rows.rows) ** (1 if self.mining == "batch_hard" else 2)
        values, counts = rows.reduce(lambda index: self._loss(rows, index), per_anchor)
        terms = {"triplets": counts.detach().sum()}
        return LossOutput(self.world.mean(values, counts), terms)

    @torch.no_grad()
    def triplets(self, z: Embeddings) -> Int[Tensor, "T 3"]:
        """Anchor, positive and negative of the mined triplets, as indices of the rows of all views and ranks."""
        rows = LabelledEmbeddings.of(z, self.names, self.distance, self.world)
        index = torch.arange(len(rows.anchors), device=rows.slots.device)
        positives, negatives, chosen, _ = self._mine(rows.neighbours(index))
        anchor, p, n = chosen.nonzero(as_tuple=True)
        return torch.stack([rows.slots[anchor], positives[anchor, p], negatives[anchor, n]], 1)

    def _loss(self, rows: LabelledEmbeddings, index: Tensor) -> tuple[Tensor, Tensor]:
        near = rows.neighbours(index)
        positives, negatives, chosen, gap = self._mine(near)
        if self.swap:
            between = pairwise(rows.rows, rows.rows, rows.kind)
            between = between[positives[:, :, None], negatives[:, None, :]]
            to_positive = near.distance.gather(1, positives)[:, :, None]
            gap = torch.minimum(gap, between - to_positive)
        loss = hinge(self.margin - gap, self.smooth)
        loss = torch.where(chosen, loss, 0.0)
        counted = loss > 0 if self.reduction == "avg_nonzero" else chosen
        return loss.sum((1, 2)), counted.sum((1, 2)).to(loss.dtype)

    def _mine(self, near: Neighbours) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Positives (r, P) and negatives (r, M) looked at, which triplets (r, P, M) count, and their gaps."""
        if self.mining == "batch_hard":
            positives = near.distance.masked_fill(~near.same, -torch.inf).argmax(1, keepdim=True)
            negatives = near.distance.masked_fill(~near.other, torch.inf).argmin(1, keepdim=True)
        else:
            every = torch.arange(near.distance.shape[1], device=near.distance.device)
            positives = negatives = every.expand(near.distance.shape)
        far = near.distance.gather(1, negatives)[:, None, :]
        gap = far - near.distance.gather(1, positives)[:, :, None]
        same = near.same.gather(1, positives)[:, :, None]
        valid = same & near.other.gather(1, negatives)[:, None]
        return positives, negatives, valid & self._selected(gap), gap

    def _selected(self, gap: Tensor) -> Tensor:
        match self.mining:
            case "all":
                return gap <= self.miner_margin
            case "hard":
                return gap <= 0
            case "semihard":
                return (gap > 0) & (gap <= self.miner_margin)
            case "easy":
                return gap > self.miner_margin
            case _:
                return torch.ones_like(gap, dtype=torch.bool)


def hinge(violation: Tensor, smooth: bool) -> Tensor:
    """[v]₊, or ln(1 + eᵛ)."""
    return torch.nn.functional.softplus(violation) if smooth else torch.relu(violation)
