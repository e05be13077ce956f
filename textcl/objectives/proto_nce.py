"""ProtoNCE: each row is pulled to the centre of its cluster and pushed from those of others.

Source: Li et al. 2021, https://arxiv.org/abs/2005.04966
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from textcl.arithmetic import unit
from textcl.contrast.prototypes import Clusters, Prototypes
from textcl.contrast.row_losses import softmax
from textcl.contrast.table import Contrast, exclude
from textcl.distributed import ALONE, World
from textcl.types import Embeddings, LossOutput

DrawMarked = Callable[[Bool[Tensor, " C"]], Int[Tensor, " r"]]
"""Given which clusters are free, the drawn ones, such as `Subset`; one that is not free does not become a column."""


class ProtoNce(nn.Module):
    """(1/R) Σ_m mean_i of the cross-entropy of q_i·c̄_j / φ_j over prototypes j, for R clusterings m.

    Columns are the prototypes of the rows of the batch and some drawn from the clusters that no row of the batch
    belongs to. Each has its own concentration φ as temperature. Only the anchors get a gradient. While the prototypes
    are empty (warm-up) the loss is 0. The method of the paper adds MoCo's loss:
    `WeightedSum([(1, Contrastive(…)), (1, ProtoNce(…))])`.

    Args:
        prototypes: The clusterings; a `Recluster` hook fills them.
        draw: Draws the negative prototypes of a clustering; the same on all ranks. `Subset(r)` draws r, or all of them
            where there are fewer.
        anchor: Name of the anchors.
        columns: "official" has one column for each row of the batch, so that two rows of one cluster are each other's
            negative and cost at least ln 2. "unique" has one for each prototype.
        world: The processes that train together; the prototypes of all their rows are columns.

    Note:
        The official code shares one parameter between the queue's size and the number of drawn prototypes, asks for at
        least as many as it draws, and draws from a set, which fails on Python 3.11.
    """

    def __init__(
        self,
        prototypes: Prototypes,
        draw: DrawMarked,
        *,
        anchor: str = "anchor",
        columns: Literal["official", "unique"] = "official",
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.prototypes, self.draw = prototypes, draw
        self.anchor, self.columns, self.world = anchor, columns, world

    def tables(self, z: Embeddings) -> list[tuple[Contrast, Int[Tensor, ""]]]:
        """The table of each clustering, whose candidates are centres divided by their concentration, and its columns.

        Their number stays on the device: some columns are excluded from all rows.
        """
        rows = self.world.gather(z.rows)
        own = self.world.offset(len(z)) + torch.arange(len(z), device=rows.device)
        anchors = unit(z[self.anchor])
        return [self._table(anchors, rows, own, level) for level in self.prototypes.levels]

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the batch."""
        tables = self.tables(z)
        if not tables:
            return LossOutput(unit(z[self.anchor]).sum() * 0.0)
        losses = [self.world.mean(*table.reduce(softmax)) for table, _ in tables]
        counts = torch.stack([count for _, count in tables]).float() - 1
        return LossOutput(torch.stack(losses).mean(), {"negatives/prototypes": counts.mean()})

    def _table(
        self, anchors: Tensor, rows: Tensor, own: Tensor, level: Clusters
    ) -> tuple[Contrast, Tensor]:
        of_batch = level.assignment[rows]
        free = level.occupied.index_fill(0, of_batch, False)
        drawn = self.draw(free)
        targets, place = own, torch.arange(len(rows), device=rows.device)
        repeated = torch.zeros_like(place, dtype=torch.bool)
        if self.columns == "unique":  # the first row of a cluster stands for all of them
            first = (of_batch[:, None] == of_batch).byte().argmax(1)
            targets, repeated = first[own], first != place
        ids = torch.cat([of_batch, drawn])
        centroids = unit(level.centroids[ids, : anchors.shape[1]]) / level.density[ids, None]
        table = Contrast(anchors, centroids.to(anchors), targets)
        hidden = torch.cat([repeated, ~free[drawn]])
        no_column = exclude(lambda some: hidden.expand(len(some), -1), table.dtype)
        return table.weighted(no_column), (~hidden).sum()
