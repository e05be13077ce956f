"""The triplet losses of sentence-transformers: mined per batch, with details that differ from `triplet`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from textcl.distributed import ALONE, World
from textcl.objectives.neighbours import Distance, LabelledEmbeddings, Neighbours
from textcl.objectives.triplet import TripletMargin, hinge
from textcl.types import Embeddings, LossOutput

Form = Literal["hard", "hard_soft_margin", "semihard", "all"]


class BatchTriplet(nn.Module):
    """The triplet losses of sentence-transformers, over the labels of the batch.

    - "hard": mean over all anchors of [hp - hn + margin]₊, hp the farthest positive, hn the nearest negative
    - "hard_soft_margin": mean over all anchors of ln(1 + e^(hp - hn))
    - "semihard": mean over positive pairs of [d(a, p) - d(a, n) + margin]₊, n the nearest negative farther than p, or
      the farthest negative where there is none
    - "all": mean over the triplets whose loss is above 0

    Args:
        form: Which of them.
        margin: Not read by "hard_soft_margin".
        distance: How rows are compared.
        names: The views, all of them anchors and candidates.
        world: The processes that train together.

    Source: Hermans et al. 2017, https://arxiv.org/abs/1703.07737; sentence-transformers'
        BatchHardTripletLoss and its siblings

    Note:
        As there, in the hard forms an anchor without a positive counts with hp = 0, and to a row of the same label the
        anchor's largest distance is added before the nearest negative is sought.
    """

    def __init__(
        self,
        form: Form = "hard",
        *,
        margin: float = 5.0,
        distance: Distance = "euclidean",
        names: Sequence[str] = ("anchor",),
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.form, self.margin = form, margin
        self.distance: Distance = distance
        self.names, self.world = tuple(names), world
        self.every = TripletMargin(margin, distance=distance, names=names, world=world)

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the batch."""
        if self.form == "all":
            return self.every(z)
        rows = LabelledEmbeddings.of(z, self.names, self.distance, self.world)
        semihard = self.form == "semihard"
        loss = self._semihard if semihard else self._hard
        width = len(rows.rows)
        values, counts = rows.reduce(
            lambda index: loss(rows.neighbours(index)), width * width if semihard else width
        )
        return LossOutput(self.world.mean(values, counts))

    def _hard(self, near: Neighbours) -> tuple[Tensor, Tensor]:
        farthest = torch.where(near.same, near.distance, 0.0).argmax(1, keepdim=True)
        positive = torch.where(near.same, near.distance, 0.0).gather(1, farthest)[:, 0]
        widest = near.distance.gather(1, near.distance.argmax(1, keepdim=True))
        shifted = torch.where(near.other, near.distance, near.distance + widest)
        negative = shifted.gather(1, shifted.argmin(1, keepdim=True))[:, 0]
        soft = self.form == "hard_soft_margin"
        loss = hinge(positive - negative + (0.0 if soft else self.margin), soft)
        return loss, torch.ones_like(loss)

    def _semihard(self, near: Neighbours) -> tuple[Tensor, Tensor]:
        distance, negatives = near.distance, near.other[:, None, :]
        farther = negatives & (distance[:, None, :] > distance[:, :, None])
        nearest = distance[:, None, :].masked_fill(~farther, torch.inf).argmin(2)
        farthest = distance.masked_fill(~near.other, -torch.inf).argmax(1, keepdim=True)
        chosen = torch.where(farther.any(2), nearest, farthest)
        pairs = near.same & near.other.any(1, keepdim=True)
        loss = hinge(distance - distance.gather(1, chosen) + self.margin, smooth=False)
        return torch.where(pairs, loss, 0.0).sum(1), pairs.sum(1).to(loss.dtype)
