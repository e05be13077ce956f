"""Multi-Similarity: pairs of a batch weigh by how hard they are, and a miner keeps only the informative ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn.functional import softplus

from textcl.distributed import ALONE, World
from textcl.objectives.neighbours import LabelledEmbeddings, Neighbours
from textcl.types import Embeddings, LossOutput

Miner = Literal["none", "all", "hard", "semihard", "easy"]
"""Choice of pairs, by the triplets of an anchor and their gap g = ‖a - n‖ - ‖a - p‖ of unit rows: every pair, or
those of a triplet with g ≤ μ, with g ≤ 0, with 0 < g ≤ μ, with g > μ."""


class MultiSimilarity(nn.Module):
    """mean_a [ (1/α) ln(1 + Σ_p e^(-α(s_ap - b))) + (1/β) ln(1 + Σ_n e^(β(s_an - b))) ].

    p runs over the mined positives of anchor a, n over its mined negatives; each pair counts once. The choice of pairs
    has no gradient.

    Args:
        alpha: α, how much the hardest positive outweighs the others.
        beta: β, the same of negatives.
        base: b, a similarity between those of positives and negatives.
        miner: Which pairs count.
        miner_margin: μ of the miner.
        names: The views, all of them anchors and candidates.
        world: The processes that train together.

    Source: Wang et al. 2019, https://arxiv.org/abs/1904.06627; Liu et al. 2021 (SapBERT),
        https://arxiv.org/abs/2010.11784

    Note: The mean is over all rows, those without a pair among them, as in pytorch-metric-learning, which however
        returns 0 for a batch with a single mined triplet.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 60.0,
        base: float = 0.5,
        *,
        miner: Miner = "all",
        miner_margin: float = 0.2,
        names: Sequence[str] = ("anchor",),
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.alpha, self.beta, self.base = alpha, beta, base
        self.miner: Miner = miner
        self.miner_margin = miner_margin
        self.names, self.world = tuple(names), world

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the batch."""
        rows = LabelledEmbeddings.of(z, self.names, "cosine", self.world)
        values, pairs = rows.reduce(
            lambda index: self._loss(rows.neighbours(index)), len(rows.rows)
        )
        loss = self.world.mean(values, torch.ones_like(values))
        return LossOutput(loss, {"pairs": pairs.detach().sum()})

    @torch.no_grad()
    def pairs(self, z: Embeddings) -> tuple[Bool[Tensor, "A N"], Bool[Tensor, "A N"]]:
        """Masks of the rows of all views and ranks that count as positives and as negatives of each anchor."""
        rows = LabelledEmbeddings.of(z, self.names, "cosine", self.world)
        return self._mine(
            rows.neighbours(torch.arange(len(rows.anchors), device=rows.slots.device))
        )

    def _loss(self, near: Neighbours) -> tuple[Tensor, Tensor]:
        positives, negatives = self._mine(near)
        over = 1 - near.distance - self.base
        pull = _log_one_plus_sum(-self.alpha * over, positives) / self.alpha
        push = _log_one_plus_sum(self.beta * over, negatives) / self.beta
        counts = (positives.sum(1) + negatives.sum(1)).to(pull.dtype)
        return pull + push, counts

    @torch.no_grad()
    def _mine(self, near: Neighbours) -> tuple[Tensor, Tensor]:
        """The positives and negatives of each anchor that occur in a triplet that counts."""
        same, other = near.same, near.other
        if self.miner == "none":
            return same, other
        lowest, highest = {
            "all": (-torch.inf, self.miner_margin),
            "hard": (-torch.inf, 0.0),
            "semihard": (0.0, self.miner_margin),
            "easy": (self.miner_margin, torch.inf),
        }[self.miner]
        # the miner compares distances of unit rows, the loss their cosines
        distance = (2 * near.distance).clamp(min=0).sqrt()
        farther = _sorted(distance, other)
        positives = same & (
            _number(farther, distance + highest, right=True)
            > _number(farther, distance + lowest, right=True)
        )
        nearer = _sorted(distance, same)
        negatives = other & (
            _number(nearer, distance - lowest, right=False)
            > _number(nearer, distance - highest, right=False)
        )
        return positives, negatives


def _log_one_plus_sum(x: Tensor, which: Tensor) -> Tensor:
    """ln(1 + Σ eˣ) over the chosen columns, 0 without a gradient where there is none."""
    some = which.any(1)
    chosen = x.masked_fill(~which, -torch.inf).masked_fill(~some[:, None], 0.0)
    return torch.where(some, softplus(torch.logsumexp(chosen, 1)), 0.0)


def _sorted(distance: Tensor, which: Tensor) -> Tensor:
    """The distances of the chosen columns, ascending, behind them NaN, which no bound reaches."""
    return distance.masked_fill(~which, torch.nan).sort(1).values


def _number(ascending: Tensor, bounds: Tensor, *, right: bool) -> Tensor:
    """Count of the values of each row that are below each bound, or equal to it where `right`."""
    known = (~ascending.isnan()).sum(1, keepdim=True)
    values = ascending.nan_to_num(nan=torch.inf)
    return torch.searchsorted(values, bounds.contiguous(), right=right).clamp(max=known)
