"""Soft BYOL: in-batch neighbours as weighted positives."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from textcl.arithmetic import unit
from textcl.contrast.row_losses import agreement
from textcl.contrast.soft_targets import Softening, soft_labels
from textcl.contrast.table import Contrast
from textcl.distributed import ALONE, World
from textcl.objectives.byol import collapse_terms
from textcl.objectives.predictor import predicted
from textcl.types import Embeddings, LossOutput


class SoftByol(nn.Module):
    """BYOL towards a soft mixture of targets: Σ over pairs of mean_i (2 - 2·Σ_j ŷ_ij·cos(p(z_i), sg(t_j))).

    ŷ holds 1 for the row's own target and `soft_labels` among the targets of the other rows, divided by their sum.

    Args:
        predictor: The head p on the online embeddings.
        pairs: Online and target names.
        softening: How neighbours are weighed; the official code knows "ascl" only.
        temperature: Of the softmax over the other rows, τ'.
        neighbours: Number of neighbours K.
        world: The processes whose rows may be neighbours; `ALONE` keeps to the rows of this process, as the official
            code does.

    Source: Feng & Patras 2022, https://arxiv.org/abs/2207.11163

    Note:
        The official code returns a vector of losses, on which backward fails; here it is their mean.
    """

    def __init__(
        self,
        predictor: nn.Module,
        *,
        pairs: Sequence[tuple[str, str]] = (("anchor", "positive_target"),),
        softening: Softening = "ascl",
        temperature: float = 0.05,
        neighbours: int = 1,
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.predictor, self.pairs, self.world = predictor, tuple(pairs), world
        self.soften = (softening, temperature, neighbours)

    def table(self, z: Embeddings, online: str, target: str) -> Contrast:
        """Predictions against the targets of all rows; ŷ are its target weights."""
        prediction = predicted(self.predictor, z[online])
        keys = self.world.gather(unit(z[target].detach()))
        own = self.world.offset(len(z)) + torch.arange(len(z), device=keys.device)
        columns = torch.arange(len(keys), device=keys.device)

        def targets(rows: Tensor) -> Tensor:
            others = own[rows, None] != columns
            with torch.autocast(keys.device.type, enabled=False):
                similarity = keys[own[rows]] @ keys.T
            weights = soft_labels(similarity, others, *self.soften).masked_fill(~others, 1.0)
            return weights / weights.sum(1, keepdim=True)

        return Contrast(unit(prediction), keys, targets)

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the batch."""
        tables = [self.table(z, *pair) for pair in self.pairs]
        losses = [self.world.mean(*table.reduce(agreement)) for table in tables]
        return LossOutput(torch.stack(losses).sum(), collapse_terms(z[self.pairs[0][0]]))
