"""Row losses: from each anchor's row of the table to its loss."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from textcl.contrast.table import Block


def softmax(block: Block) -> tuple[Tensor, Tensor]:
    """Cross-entropy of a row: -Σ targets · ln p, with p of its logits; an anchor without target counts for nothing."""
    counted = block.targets.sum(1) > 0
    logits = block.logits.masked_fill(~counted[:, None], 0.0)
    aimed = torch.where(block.targets > 0, logits, 0.0)
    value = torch.logsumexp(logits, 1) * block.targets.sum(1) - (aimed * block.targets).sum(1)
    return value, counted.to(value.dtype)


def agreement(block: Block) -> tuple[Tensor, Tensor]:
    """2 - 2·Σ targets · similarity, for tables whose temperature is 1."""
    value = 2 - 2 * (block.targets * block.logits).sum(1)
    return value, torch.ones_like(value)


@dataclass(frozen=True)
class EachPair:
    """-ln( e^s_ap / (e^s_ap + Σ_n e^s_an) + floor ) for every positive p of the anchor a; each pair counts once.

    The other positives of the anchor are not in the denominator. An anchor without negatives loses 0.

    Args:
        floor: Added inside the logarithm. A loss can then not exceed -ln floor, and its gradient fades there.
    """

    floor: float = 0.0

    def __call__(self, block: Block) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
        """Summed loss of each anchor's pairs, and their number."""
        paired = block.targets > 0
        against, contested = log_sum_negatives(block)
        live = paired & contested[:, None]
        log_share = logsigmoid((block.logits - against[:, None]).masked_fill(~live, 0.0))
        if self.floor:
            log_share = torch.logaddexp(log_share, log_share.new_tensor(math.log(self.floor)))
        values = -torch.where(live, log_share, 0.0).sum(1)
        return values, paired.sum(1).to(values.dtype)


def log_sum_negatives(block: Block) -> tuple[Float[Tensor, " r"], Tensor]:
    """LSE of each anchor's negatives, and whether it has any; 0-gradient and meaningless where it has none."""
    contested = block.negatives.any(1)
    logits = block.logits.masked_fill(~block.negatives, -math.inf)
    return torch.logsumexp(logits.masked_fill(~contested[:, None], 0.0), 1), contested


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


def positives_only(block: Block) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
    """A row loss: -Σ targets · s / temperature. Nothing pushes apart, so every text ends in one point."""
    aimed = torch.where(block.targets > 0, block.logits, 0.0)
    counted = block.targets.sum(1) > 0
    return -(aimed * block.targets).sum(1), counted.to(block.targets.dtype)


def negatives_only(block: Block) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
    """A row loss: LSE of the negatives. Nothing pulls together."""
    against, contested = log_sum_negatives(block)
    return torch.where(contested, against, 0.0), contested.to(against.dtype)


def times_own_weight(block: Block) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
    """A row loss: the weight of the positives as a factor of the loss instead of inside its logarithm."""
    value, counted = softmax(block)
    log_weights = torch.where(block.targets > 0, block.log_weights, 0.0)
    log_own = (log_weights * block.targets).sum(1)
    return log_own.exp() * (value + log_own), counted
