"""InfoNCE in both directions: from anchors to positives and back."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from textcl.contrast.pairings import AnchorPositive
from textcl.contrast.temperature import Temperature
from textcl.distributed import ALONE, World
from textcl.objectives.combine import WeightedSum
from textcl.objectives.contrastive import Contrastive


def symmetric(
    temperature: Temperature,
    *,
    negatives: Sequence[str] = (),
    hard_negative_weight: float = 0.0,
    world: World = ALONE,
) -> nn.Module:
    """InfoNCE from anchors to positives and back, averaged; only the first direction sees hard negatives.

    Args:
        temperature: Number > 0, or a module that returns one, which both directions then share.
        negatives: Views of hard negatives.
        hard_negative_weight: Added to the logit of an anchor's own hard negative.
        world: The processes that train together.

    Source: Radford et al. 2021, https://arxiv.org/abs/2103.00020
    """
    forward = AnchorPositive("anchor", "positive", negatives, hard_negative_weight)
    back = AnchorPositive("positive", "anchor")
    return WeightedSum(
        [(0.5, Contrastive(pairing, temperature, world=world)) for pairing in (forward, back)]
    )
