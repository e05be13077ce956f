"""Debiased contrastive loss, and its form that weighs hard negatives: no labels, but a prior of false negatives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from textcl.contrast.pairings import Pairing
from textcl.contrast.statistics import table_statistics
from textcl.contrast.table import Block, Contrast
from textcl.contrast.temperature import Temperature, checked, current
from textcl.contrast.transforms import Transform, lay_out
from textcl.distributed import ALONE, World
from textcl.objectives.contrastive import log_terms
from textcl.schedule import Annealed
from textcl.types import Embeddings, LossOutput


class HardNegative(nn.Module):
    """-mean_a ln( pos_a / (pos_a + G_a) ), where G_a estimates what true negatives add up to.

    With n_k = e^s_ak over the N negatives of anchor a and a prior τ⁺ that a negative is false:
        R_a = N Σ_k n_k^(1+β) / Σ_k n_k^β
        G_a = max( (R_a - τ⁺ N pos_a) / (1 - τ⁺), N e^(-1/temperature) )

    β = 0 is the debiased loss, β = 0 and τ⁺ = 0 is NT-Xent (the estimators "debiased" and "easy"). All in log space.

    Args:
        pairing: Lays the table out; `AllViews()` in the papers.
        temperature: Number > 0, or a module that returns one; 0.5 in the papers.
        prior: τ⁺ in [0, 1), the share of negatives that are of the anchor's class.
        beta: β ≥ 0, how much hard negatives count more; a number or an `Annealed` one.
        transforms: Applied to the table, left to right.
        world: The processes that train together.

    Source: Chuang et al. 2020, https://arxiv.org/abs/2007.00224; Robinson et al. 2021,
        https://arxiv.org/abs/2010.04592

    Note: As in the authors' code the weights n^β carry a gradient, and their exponent is β s / temperature. Where the
        lower bound holds, only the positive has a gradient. Without negatives the loss is 0, where the code gives NaN.
        An anchor with several positives takes the mean over them, N stays the number of its negatives.
    """

    def __init__(
        self,
        pairing: Pairing,
        temperature: Temperature,
        prior: float = 0.1,
        beta: float | Annealed = 1.0,
        transforms: Sequence[Transform] = (),
        *,
        world: World = ALONE,
    ) -> None:
        super().__init__()
        if not 0 <= prior < 1:
            raise ValueError(f"prior must be in [0, 1), not {prior}")
        self.pairing, self.transforms, self.world = pairing, tuple(transforms), world
        self.temperature, self.prior, self.beta = checked(temperature), prior, beta

    def table(self, z: Embeddings) -> Contrast:
        """The table that the loss reads."""
        return lay_out(z, self.pairing, self.transforms, self.world)

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the batch."""
        contrast, temperature = self.table(z), current(self.temperature)
        beta = self.beta() if isinstance(self.beta, Annealed) else self.beta

        def row_loss(block: Block) -> tuple[Tensor, Tensor]:
            return estimate(block, self.prior, beta)

        values, counts = contrast.reduce(row_loss, temperature)
        return LossOutput(
            self.world.mean(values, counts),
            log_terms(contrast, self.temperature),
            partial(table_statistics, contrast, temperature, row_loss, self.world),
        )


def estimate(
    block: Block, prior: float, beta: float
) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
    """A row loss: softplus(ln G - s) of each positive, weighed as a target."""
    paired = block.targets > 0
    live = paired & block.negatives.any(1, keepdim=True)
    logits = block.logits.masked_fill(~live, 0.0)
    log_count = block.negatives.sum(1, keepdim=True).clamp(min=1).to(logits).log()
    log_all = log_count + _log_sum(block, 1 + beta) - _log_sum(block, beta)
    log_false = logits + log_count + (math.log(prior) if prior else -math.inf)
    floor = log_count - 1 / block.temperature
    bound = log_false >= log_all
    gap = (log_false - log_all).masked_fill(bound, -1.0)
    log_true = log_all + torch.log(-torch.expm1(gap)) - math.log1p(-prior)
    log_true = torch.where(bound | (log_true < floor), floor, log_true)

    values = torch.where(live, -logsigmoid(logits - log_true), 0.0)
    return (values * block.targets).sum(1), paired.any(1).to(values.dtype)


def _log_sum(block: Block, power: float) -> Float[Tensor, "r 1"]:
    """LSE of power · logit over the negatives; 0-gradient and meaningless where there are none."""
    logits = (block.logits * power).masked_fill(~block.negatives, -math.inf)
    contested = block.negatives.any(1, keepdim=True)
    return torch.logsumexp(logits.masked_fill(~contested, 0.0), 1, keepdim=True)
