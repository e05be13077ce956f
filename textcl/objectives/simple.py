"""Losses without a softmax: the simple loss of Wang & Liu, and one half of InfoNCE at a time."""

from __future__ import annotations

from textcl.contrast.pairings import AnchorPositive, Pairing
from textcl.contrast.row_losses import Simple
from textcl.contrast.temperature import Temperature
from textcl.contrast.transforms import KeepHardest
from textcl.distributed import ALONE, World
from textcl.objectives.contrastive import Contrastive


def simple(
    weight: float,
    pairing: Pairing | None = None,
    *,
    hardest: float | None = None,
    world: World = ALONE,
) -> Contrastive:
    """The simple loss -s_ii + λ Σ s_ij, which treats all negatives alike; its hard form looks at the hardest only.

    Args:
        weight: λ.
        pairing: Lays the table out; anchors against positives when None.
        hardest: Fraction of each anchor's negatives that stays; all when None.
        world: The processes that train together.

    Source: Wang & Liu 2021, https://arxiv.org/abs/2012.09740
    """
    keep = [] if hardest is None else [KeepHardest(hardest)]
    pairing = AnchorPositive() if pairing is None else pairing
    return Contrastive(pairing, 1.0, keep, row_loss=Simple(weight), world=world)


def hard_contrastive(
    temperature: Temperature,
    hardest: float,
    pairing: Pairing | None = None,
    *,
    world: World = ALONE,
) -> Contrastive:
    """InfoNCE over the positive and the hardest fraction of each anchor's negatives.

    Args:
        temperature: Number > 0, or a module that returns one.
        hardest: Fraction α in (0, 1] of the negatives that stays; 1 is InfoNCE.
        pairing: Lays the table out; anchors against positives when None.
        world: The processes that train together.

    Source: Wang & Liu 2021, https://arxiv.org/abs/2012.09740
    """
    pairing = AnchorPositive() if pairing is None else pairing
    return Contrastive(pairing, temperature, [KeepHardest(hardest)], world=world)
