"""Triplet losses: an anchor must be nearer to its positives than to its negatives by a margin.

Two families of definitions are in use and give different numbers: here the one of pytorch-metric-learning, in
`batch_triplet` the one of sentence-transformers.

Letters: r anchors of one block, N rows of all ranks, P positives and M negatives looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from textcl.arithmetic import unit, widen
from textcl.contrast import table as contrast
from textcl.distributed import ALONE, World
from textcl.objectives.weights import row_weights, weighted
from textcl.types import ABSENT, Batch, Embeddings, LossOutput

Distance = Literal["euclidean", "euclidean_unit", "cosine"]
"""‖a - b‖ of raw rows, ‖a - b‖ of unit rows, or 1 - cos(a, b)."""

Mining = Literal["none", "all", "hard", "semihard", "easy", "batch_hard"]
"""Which triplets count, by their gap g = d(a, n) - d(a, p) and the miner's margin μ: all of them, g ≤ μ, g ≤ 0,
0 < g ≤ μ, g > μ, or for each anchor its farthest positive with its nearest negative."""

Reduction = Literal["avg_nonzero", "mean"]


@dataclass(frozen=True)
class Neighbours:
    """Distances of some anchors to all rows, and what the rows are to them.

    Args:
        distance: From each anchor to each row.
        same: Other rows of the anchor's label.
        other: Rows of other labels.
    """

    distance: Float[Tensor, "r N"]
    same: Bool[Tensor, "r N"]
    other: Bool[Tensor, "r N"]


@dataclass(frozen=True)
class LabelledEmbeddings:
    """The rows of this process as anchors, and those of all processes around them.

    Args:
        anchors: Rows of this process, as the distance wants them.
        rows: Rows of all processes.
        slots: Where each anchor is among `rows`.
        labels: Labels of `rows`.
        kind: How rows are compared.
    """

    anchors: Float[Tensor, "A D"]
    rows: Float[Tensor, "N D"]
    slots: Int[Tensor, " A"]
    labels: Int[Tensor, " N"]
    kind: Distance

    @classmethod
    def of(
        cls, z: Embeddings, names: Sequence[str], kind: Distance, world: World
    ) -> LabelledEmbeddings:
        """All views named, one after another; without labels the views of one row belong together."""
        if z.labels is None and len(names) < 2:
            raise ValueError("a triplet loss over one view needs labels, and the batch has none")
        labels = z.rows if z.labels is None else z.labels
        if labels.ndim != 1:
            raise ValueError("a triplet loss needs one class id a row, the labels are multi-hot")
        anchors = [_prepared(z[name], kind) for name in names]
        gathered = world.gather(labels)
        here = world.offset(len(z)) + torch.arange(len(z), device=labels.device)
        return cls(
            torch.cat(anchors),
            torch.cat([world.gather(rows) for rows in anchors]),
            torch.cat([here + view * len(gathered) for view in range(len(names))]),
            gathered.repeat(len(names)),
            kind,
        )

    def neighbours(self, index: Int[Tensor, " r"]) -> Neighbours:
        """What surrounds some of the anchors."""
        slots = self.slots[index]
        same = self.labels[slots, None] == self.labels
        distance = _pairwise(self.anchors[index], self.rows, self.kind)
        return Neighbours(distance, same.scatter(1, slots[:, None], False), ~same)

    def reduce(
        self, loss: Callable[[Tensor], tuple[Tensor, Tensor]], per_anchor: int
    ) -> tuple[Float[Tensor, " A"], Float[Tensor, " A"]]:
        """Apply `loss` to the indices of all anchors, block by block as `Contrast.reduce` does.

        Args:
            loss: From indices of anchors to (their summed loss, how many terms they count for).
            per_anchor: Elements that one anchor needs.
        """
        index = torch.arange(len(self.anchors), device=self.anchors.device)
        size = max(1, contrast.TILE_ELEMENTS // max(1, per_anchor))
        if size >= len(index):
            return loss(index)
        parts = [
            checkpoint(loss, part, use_reentrant=False, preserve_rng_state=False)
            for part in index.split(size)
        ]
        values, counts = zip(*parts, strict=True)
        return torch.cat(values), torch.cat(counts)


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
            between = _pairwise(rows.rows, rows.rows, rows.kind)
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
            positives = negatives = torch.arange(
                near.distance.shape[1], device=near.distance.device
            ).expand(near.distance.shape)
        far = near.distance.gather(1, negatives)[:, None, :]
        gap = far - near.distance.gather(1, positives)[:, :, None]
        valid = (
            near.same.gather(1, positives)[:, :, None] & near.other.gather(1, negatives)[:, None]
        )
        return positives, negatives, valid & self._wanted(gap), gap

    def _wanted(self, gap: Tensor) -> Tensor:
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
        anchor, positive, *negatives = (_prepared(z[name], self.distance) for name in self.names)
        near = _rowwise(anchor, positive, self.distance)
        values = counts = torch.zeros_like(near)
        for name, negative in zip(self.names[2:], negatives, strict=True):
            far = _rowwise(anchor, negative, self.distance)
            if self.swap:
                far = torch.minimum(far, _rowwise(positive, negative, self.distance))
            loss = hinge(near - far + self.margin, self.smooth)
            present = z.group(name) != ABSENT
            counted = present & (loss > 0) if self.reduction == "avg_nonzero" else present
            values = values + torch.where(present, loss, 0.0)
            counts = counts + counted.to(loss.dtype)
        terms = {"triplets": counts.detach().sum()}
        values, counts = weighted(z, values, counts)
        return LossOutput(self.world.mean(values, counts, z.items.get(self)), terms)


def hinge(violation: Tensor, smooth: bool) -> Tensor:
    """[v]₊, or ln(1 + eᵛ)."""
    return torch.nn.functional.softplus(violation) if smooth else torch.relu(violation)


def _prepared(x: Tensor, kind: Distance) -> Tensor:
    return widen(x) if kind == "euclidean" else unit(x)


def _pairwise(a: Tensor, b: Tensor, kind: Distance) -> Tensor:
    with torch.autocast(a.device.type, enabled=False):
        if kind == "cosine":
            return 1 - a @ b.T
        # without matrix products, whose rounding would keep equal rows apart
        return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _rowwise(a: Tensor, b: Tensor, kind: Distance) -> Tensor:
    return 1 - (a * b).sum(1) if kind == "cosine" else torch.linalg.vector_norm(a - b, dim=1)
