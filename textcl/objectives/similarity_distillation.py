"""Distillation of similarities: those of a batch, the student's made like the teacher's."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from textcl.arithmetic import unit
from textcl.contrast.row_losses import softmax
from textcl.contrast.table import Block, Contrast
from textcl.contrast.temperature import positive
from textcl.distributed import ALONE, World
from textcl.types import Embeddings, LossOutput


class DistillSimilarity(nn.Module):
    """The similarities within the batch, the student's made like the teacher's; their widths may differ.

    - "mse": mean over all pairs (i, j) of (cos_ij of the student - cos_ij of the teacher)²
    - "kl": τ² · mean over rows i of KL(softmax_j(cos_ij of the teacher / τ) ‖ softmax_j(the student's / τ))

    Args:
        measure: One of them.
        student: Names of the student's rows i and j.
        teacher: Names of the teacher's.
        temperature: τ > 0, of "kl" only.
        world: The processes that train together; j runs over the rows of all.

    Source: Hinton et al. 2015, https://arxiv.org/abs/1503.02531
    """

    def __init__(
        self,
        measure: Literal["mse", "kl"] = "mse",
        *,
        student: tuple[str, str] = ("anchor", "anchor"),
        teacher: tuple[str, str] = ("teacher", "teacher"),
        temperature: float = 0.05,
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.measure = measure
        self.temperature = positive(temperature) if measure == "kl" else 1.0
        self.student, self.teacher, self.world = student, teacher, world

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the batch."""
        taught, others = (x.detach() for x in self._rows(z, self.teacher))

        def targets(rows: Tensor) -> Tensor:
            with torch.autocast(taught.device.type, enabled=False):
                similarity = taught[rows] @ others.T
            return (
                (similarity / self.temperature).softmax(1) if self.measure == "kl" else similarity
            )

        table = Contrast(*self._rows(z, self.student), targets)
        values, counts = table.reduce(
            _divergence if self.measure == "kl" else _squares, self.temperature
        )
        return LossOutput(self.temperature**2 * self.world.mean(values, counts))

    def _rows(self, z: Embeddings, names: tuple[str, str]) -> tuple[Tensor, Tensor]:
        rows, others = (unit(z[name]) for name in names)
        return rows, self.world.gather(others)


def _squares(block: Block) -> tuple[Tensor, Tensor]:
    value = (block.logits - block.targets).square().sum(1)
    return value, torch.full_like(value, block.logits.shape[1])


def _divergence(block: Block) -> tuple[Tensor, Tensor]:
    value, _ = softmax(block)
    return value - torch.special.entr(block.targets).sum(1), torch.ones_like(value)
