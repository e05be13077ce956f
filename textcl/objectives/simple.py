"""Losses without a softmax: the simple loss of Wang & Liu, and one half of InfoNCE at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from textcl.contrast import AnchorPositive, Block, KeepHardest, Pairing
from textcl.distributed import ALONE, World
from textcl.objectives.contrastive import Contrastive
from textcl.objectives.nt_xent_pairs import log_sum_negatives
from textcl.objectives.temperature import Temperature


@dataclass(frozen=True)
class Simple:
    """-s_ii + weight · Σ_n s_in over the negatives n that the table left in, of plain similarities.

    Args:
        weight: λ of the paper, which names no value; 1 / number of negatives is balanced.
    """

    weight: float

    def __call__(self, block: Block) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
        """Loss of each anchor."""
        counted = block.targets.sum(1) > 0
        pull = (block.targets * block.similarity).sum(1)
        repeats = torch.where(block.negatives, block.log_weights, 0.0).exp() * block.negatives
        values = self.weight * (repeats * block.similarity).sum(1) - pull
        return torch.where(counted, values, 0.0), counted.to(values.dtype)


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

    Source: methods.md E; Wang & Liu 2021, https://arxiv.org/abs/2012.09740
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

    Source: methods.md E; Wang & Liu 2021, https://arxiv.org/abs/2012.09740
    """
    pairing = AnchorPositive() if pairing is None else pairing
    return Contrastive(pairing, temperature, [KeepHardest(hardest)], world=world)


def positives_only(block: Block) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
    """A row loss: -Σ targets · s / temperature. Nothing pushes apart, so every text ends in one point."""
    aimed = torch.where(block.targets > 0, block.logits, 0.0)
    counted = block.targets.sum(1) > 0
    return -(aimed * block.targets).sum(1), counted.to(block.targets.dtype)


def negatives_only(block: Block) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
    """A row loss: LSE of the negatives. Nothing pulls together."""
    against, contested = log_sum_negatives(block)
    return torch.where(contested, against, 0.0), contested.to(against.dtype)
