"""The softmax over a table: InfoNCE, NT-Xent, SupCon, MoCo, and every transform of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from textcl.contrast import AllViews, AnchorPositive, Contrast, Pairing, Transform, cross_entropy
from textcl.distributed import ALONE, World
from textcl.objectives.temperature import Temperature, current, positive
from textcl.types import Embeddings, LossOutput

NoPositive = Literal["skip", "zero"]


class Contrastive(nn.Module):
    """-Σ targets · log softmax(similarity / temperature + log weight), a mean over anchors.

    Args:
        pairing: Lays the table out.
        temperature: Number > 0, or a module that returns one.
        transforms: Applied to the table, left to right.
        no_positive: What an anchor without a positive does: "skip" leaves it out of the mean, "zero" counts it as 0.
        world: The processes that train together.

    Source: methods.md A; van den Oord et al. 2018, https://arxiv.org/abs/1807.03748
    """

    def __init__(
        self,
        pairing: Pairing,
        temperature: Temperature,
        transforms: Sequence[Transform] = (),
        *,
        no_positive: NoPositive = "skip",
        world: World = ALONE,
    ) -> None:
        super().__init__()
        if not isinstance(temperature, nn.Module):
            positive(temperature)
        self.pairing, self.temperature, self.transforms = pairing, temperature, tuple(transforms)
        self.no_positive, self.world = no_positive, world

    def table(self, z: Embeddings) -> Contrast:
        """The table that the loss reads."""
        contrast = self.pairing(z, self.world)
        for transform in self.transforms:
            contrast = transform(contrast, z)
        return contrast

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the batch."""
        contrast, temperature = self.table(z), current(self.temperature)
        values, counts = contrast.reduce(cross_entropy, temperature)
        if self.no_positive == "zero":
            counts = torch.ones_like(counts)
        return LossOutput(self.world.mean(values, counts), log_terms(contrast, temperature))


def log_terms(contrast: Contrast, temperature: float | Tensor) -> dict[str, Tensor]:
    """What every objective over a table logs: its temperature and where its negatives come from."""
    terms = {f"negatives/{kind}": count for kind, count in contrast.census.items()}
    numbers = {"temperature": temperature, **terms}
    return {name: torch.as_tensor(number).detach() for name, number in numbers.items()}


def symmetric(temperature: Temperature, *, world: World = ALONE) -> nn.Module:
    """InfoNCE from anchors to positives and back, averaged (methods.md A.2)."""
    from textcl.objectives.combine import WeightedSum

    return WeightedSum(
        [
            (0.5, Contrastive(AnchorPositive("anchor", "positive"), temperature, world=world)),
            (0.5, Contrastive(AnchorPositive("positive", "anchor"), temperature, world=world)),
        ]
    )


def nt_xent(temperature: Temperature, *, world: World = ALONE) -> Contrastive:
    """SimCLR's loss over two views of every row (methods.md A.4)."""
    return Contrastive(AllViews(), temperature, world=world)
