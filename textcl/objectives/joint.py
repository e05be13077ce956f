"""One softmax over all four directions between two views."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from textcl.contrast.pairings import AllViews
from textcl.contrast.statistics import table_statistics
from textcl.contrast.table import Block, Contrast
from textcl.contrast.temperature import Temperature, checked, current
from textcl.contrast.transforms import Transform, lay_out
from textcl.distributed import ALONE, World
from textcl.objectives.contrastive import log_terms
from textcl.types import Embeddings, LossOutput


class JointDirections(nn.Module):
    """mean_i ( LSE over {a_i·p_j, a_i·a_j (j≠i), p_i·a_j, p_i·p_j (j≠i)} / temperature - a_i·p_i / temperature ).

    Args:
        temperature: Number > 0, or a module that returns one.
        names: The two views a and p.
        transforms: Applied to the table of `AllViews`, left to right.
        world: The processes that train together.

    Source: Li et al. 2023, https://arxiv.org/abs/2308.03281

    Note: The positive pair stands in the sum twice, once from each side, as in the published loss; a batch of one
        therefore loses ln 2, with no gradient.
    """

    def __init__(
        self,
        temperature: Temperature,
        names: tuple[str, str] = ("anchor", "positive"),
        transforms: Sequence[Transform] = (),
        *,
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.pairing, self.transforms = AllViews(names), tuple(transforms)
        self.temperature, self.world = checked(temperature), world

    def table(self, z: Embeddings) -> Contrast:
        """The table of both views as anchors: row i has two anchors in it, i and B + i."""
        return lay_out(z, self.pairing, self.transforms, self.world)

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the batch."""
        contrast, temperature = self.table(z), current(self.temperature)
        log_sums, pulls = contrast.reduce(_log_sum_and_pull, temperature)
        values = torch.logsumexp(log_sums.view(2, -1), 0) - pulls[: len(z)]
        loss = self.world.mean(values, torch.ones_like(values))
        scores = partial(table_statistics, contrast, temperature, world=self.world)
        return LossOutput(loss, log_terms(contrast, self.temperature), scores)


def _log_sum_and_pull(block: Block) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
    """Not a loss and a count yet: what an anchor brings to the sum of its row, and the logit of its positive."""
    aimed = torch.where(block.targets > 0, block.logits, 0.0)
    return torch.logsumexp(block.logits, 1), aimed.sum(1)
