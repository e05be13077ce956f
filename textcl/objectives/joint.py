"""One softmax over the directions between anchors and positives."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from textcl.contrast.pair_table import FOUR_WAYS, PairTable
from textcl.contrast.statistics import table_statistics
from textcl.contrast.table import Block, Contrast
from textcl.contrast.temperature import Temperature, checked, current
from textcl.contrast.transforms import Transform, lay_out
from textcl.distributed import ALONE, World
from textcl.objectives.contrastive import log_terms
from textcl.objectives.weights import weighted
from textcl.types import Embeddings, LossOutput


class JointDirections(nn.Module):
    """mean_i ( LSE over all candidates of a_i and p_i / temperature - a_i·p_i / temperature ), in one softmax.

    With the four directions of `FOUR_WAYS` the sum runs over a_i·p_j, a_i·a_j (j≠i), p_i·a_j and p_i·p_j (j≠i), and the
    hard negatives of all rows for a_i, of the other rows for p_i.

    Args:
        temperature: Number > 0, or a module that returns one.
        pairing: Who is contrasted with whom.
        transforms: Applied to its table, left to right.
        world: The processes that train together.

    Source: Li et al. 2023, https://arxiv.org/abs/2308.03281

    Note: Where anchors and positives both look for each other, the positive pair stands in the sum twice, once from
        each side, as in the published loss; a batch of one then loses ln 2, with no gradient.
    """

    def __init__(
        self,
        temperature: Temperature,
        pairing: PairTable | None = None,
        transforms: Sequence[Transform] = (),
        *,
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.pairing = PairTable(terms=FOUR_WAYS) if pairing is None else pairing
        self.transforms = tuple(transforms)
        self.temperature, self.world = checked(temperature), world

    def table(self, z: Embeddings) -> Contrast:
        """The table whose anchors are those of the rows, and behind them the positives if they look for something."""
        return lay_out(z, self.pairing, self.transforms, self.world)

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the batch."""
        contrast, temperature = self.table(z), current(self.temperature)
        log_sums, pulls = contrast.reduce(_log_sum_and_pull, temperature)
        values = torch.logsumexp(log_sums.view(-1, len(z)), 0) - pulls[: len(z)]
        loss = self.world.mean(*weighted(z, values, torch.ones_like(values)))
        scores = partial(table_statistics, contrast, temperature, world=self.world)
        return LossOutput(loss, log_terms(contrast, self.temperature), scores)


def _log_sum_and_pull(block: Block) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
    """Not a loss and a count yet: what an anchor brings to the sum of its row, and the logit of its positive."""
    present = ~torch.isneginf(block.logits).all(1)
    log_sums = torch.logsumexp(block.logits.masked_fill(~present[:, None], 0.0), 1)
    aimed = torch.where(block.targets > 0, block.logits, 0.0)
    return torch.where(present, log_sums, -torch.inf), aimed.sum(1)
