"""Labelled rows around each anchor, and how far they are from it.

Letters: A anchors, r anchors of one block, N rows of all ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from textcl.arithmetic import unit, widen
from textcl.contrast import table as contrast
from textcl.distributed import World
from textcl.types import Embeddings

Distance = Literal["euclidean", "euclidean_unit", "cosine"]
"""‖a - b‖ of raw rows, ‖a - b‖ of unit rows, or 1 - cos(a, b)."""


@dataclass(frozen=True)
class Neighbours:
    """Distances of some anchors to all rows, and which rows have their label.

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
        anchors = [prepared(z[name], kind) for name in names]
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
        """Neighbours of some of the anchors."""
        slots = self.slots[index]
        same = self.labels[slots, None] == self.labels
        distance = pairwise(self.anchors[index], self.rows, self.kind)
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


def prepared(x: Tensor, kind: Distance) -> Tensor:
    """Rows as the distance reads them: wide enough, and of length 1 unless it compares raw rows."""
    return widen(x) if kind == "euclidean" else unit(x)


def pairwise(a: Tensor, b: Tensor, kind: Distance) -> Tensor:
    """Distances of all prepared rows of `a` to all of `b`."""
    with torch.autocast(a.device.type, enabled=False):
        if kind == "cosine":
            return 1 - a @ b.T
        # without matrix products, whose rounding would keep equal rows apart
        return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def rowwise(a: Tensor, b: Tensor, kind: Distance) -> Tensor:
    """Distances of row i of `a` to row i of `b`, both prepared."""
    return 1 - (a * b).sum(1) if kind == "cosine" else torch.linalg.vector_norm(a - b, dim=1)
