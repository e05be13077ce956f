"""NT-Xent with one term for every positive pair, as metric-learning libraries and Mirror-BERT's code have it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from textcl.contrast import AllViews, Block
from textcl.distributed import ALONE, World
from textcl.objectives.contrastive import Contrastive
from textcl.objectives.temperature import Temperature

Variant = Literal["exact", "fp16_floor"]

FLOORS: dict[Variant, float] = {"exact": 0.0, "fp16_floor": 2.0**-14}
"""What each variant adds to the probability inside the logarithm; 2^-14 is the smallest normal number of float16."""


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


def nt_xent_pairs(
    temperature: Temperature,
    *,
    names: Sequence[str] = ("anchor", "positive"),
    same: str = "rows",
    variant: Variant = "exact",
    world: World = ALONE,
) -> Contrastive:
    """NT-Xent as a mean over positive pairs.

    Args:
        temperature: Number > 0, or a module that returns one.
        names: The views, all of them anchors and candidates.
        same: What makes two rows a positive pair: "rows" or "labels", see `AllViews`.
        variant: "fp16_floor" adds 2^-14 to the probability, as Mirror-BERT's training under half precision does.
        world: The processes that train together.

    Source: methods.md A.4; Chen et al. 2020, https://arxiv.org/abs/2002.05709; Liu et al. 2021,
        https://arxiv.org/abs/2104.08027

    Note: With two views and `same="rows"` the exact variant is `nt_xent`. With several positives it is not SupCon,
        whose denominator holds the other positives too. Mirror-BERT's paper sums over the batch, its code averages.
    """
    pairing = AllViews(names, same)
    return Contrastive(pairing, temperature, row_loss=EachPair(FLOORS[variant]), world=world)
