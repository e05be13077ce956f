"""The loss over a table: InfoNCE, NT-Xent, SupCon, MoCo, and every transform of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from textcl.contrast.pairings import AllViews, Pairing
from textcl.contrast.row_losses import softmax
from textcl.contrast.statistics import table_statistics
from textcl.contrast.table import Contrast, RowLoss
from textcl.contrast.temperature import Temperature, checked, current, temperature_terms
from textcl.contrast.transforms import Transform, lay_out
from textcl.distributed import ALONE, World
from textcl.objectives.weights import weighted
from textcl.types import Embeddings, LossOutput

NoPositive = Literal["skip", "zero", "nan"]
"""Treatment of an anchor without a positive: left out of the mean, counted as 0, or making the loss nan as the authors'
code of SupCon and LCL does."""


class Contrastive(nn.Module):
    """-Σ targets · log softmax(similarity / temperature + log weight), a mean over anchors.

    Args:
        pairing: Lays the table out.
        temperature: Number > 0, or a module that returns one.
        transforms: Applied to the table, left to right.
        row_loss: What is made of an anchor's row, where it is not the softmax.
        no_positive: What an anchor without a positive does, see `NoPositive`.
        base_temperature: The loss is multiplied by temperature / base_temperature where it is given.
        world: The processes that train together.

    Source: van den Oord et al. 2018, https://arxiv.org/abs/1807.03748
    """

    def __init__(
        self,
        pairing: Pairing,
        temperature: Temperature,
        transforms: Sequence[Transform] = (),
        *,
        row_loss: RowLoss = softmax,
        no_positive: NoPositive = "skip",
        base_temperature: float | None = None,
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.pairing, self.transforms = pairing, tuple(transforms)
        self.temperature = checked(temperature)
        self.no_positive: NoPositive = no_positive
        self.row_loss, self.world = row_loss, world
        self.base_temperature = base_temperature

    def table(self, z: Embeddings) -> Contrast:
        """The table that the loss reads."""
        return lay_out(z, self.pairing, self.transforms, self.world)

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the batch."""
        contrast, temperature = self.table(z), current(self.temperature)
        values, counts = contrast.reduce(self.row_loss, temperature)
        loss = mean_over_anchors(*weighted(z, values, counts), self.no_positive, self.world)
        if self.base_temperature is not None:
            loss = loss * (temperature / self.base_temperature)
        return LossOutput(
            loss,
            log_terms(contrast, self.temperature) | lonely_terms(contrast, counts),
            partial(table_statistics, contrast, temperature, self.row_loss, self.world),
        )


def mean_over_anchors(
    values: Float[Tensor, " A"], counts: Float[Tensor, " A"], no_positive: NoPositive, world: World
) -> Float[Tensor, ""]:
    """Mean of the losses of all anchors, those without a positive as `no_positive` says."""
    if no_positive == "nan":
        values = values * torch.where((counts > 0).all(), 1.0, math.nan)
    if no_positive != "skip":
        counts = counts.clamp(min=1)
    return world.mean(values, counts)


def log_terms(contrast: Contrast, temperature: Temperature) -> dict[str, Tensor]:
    """Log terms of every objective over a table: its temperature and the sources of its negatives."""
    counts = {
        f"negatives/{kind}": torch.as_tensor(count) for kind, count in contrast.census.items()
    }
    return temperature_terms(temperature) | counts


@torch.no_grad()
def lonely_terms(contrast: Contrast, counts: Float[Tensor, " A"]) -> dict[str, Tensor]:
    """The share of anchors without a positive, for tables in which there can be some."""
    if isinstance(contrast.targets, Tensor):
        return {}
    return {"without_positive": (counts == 0).float().mean()}


def nt_xent(temperature: Temperature, *, world: World = ALONE) -> Contrastive:
    """SimCLR's loss over two views of every row (Chen et al. 2020, https://arxiv.org/abs/2002.05709)."""
    return Contrastive(AllViews(), temperature, world=world)
