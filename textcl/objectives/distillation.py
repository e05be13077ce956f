"""Distillation of embeddings: a student learns those of a teacher, which has no gradient.

Source: Hinton et al. 2015, https://arxiv.org/abs/1503.02531
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from textcl.arithmetic import unit, widen
from textcl.distributed import ALONE, World
from textcl.objectives.weights import row_weights, weighted
from textcl.types import Batch, Embeddings, LossOutput

Metric = Literal["mse", "l2", "cosine"]


class DistillEmbeddings(nn.Module):
    """A student's vectors, made like a teacher's.

    - "mse": mean over all elements of (student - teacher)²
    - "l2": mean over rows of ‖student - teacher‖
    - "cosine": mean over rows of 1 - cos(student, teacher)

    Args:
        student: Name of the student's embeddings.
        teacher: Name of the teacher's; vectors that come with the rows when None.
        metric: How they are compared.
        project: Brings the student to the teacher's width where they differ; trains with it.
        world: The processes that train together.

    Source: Reimers & Gurevych 2020, https://arxiv.org/abs/2004.09813
    """

    def __init__(
        self,
        student: str = "anchor",
        teacher: str | None = "teacher",
        *,
        metric: Metric = "mse",
        project: nn.Module | None = None,
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.student, self.teacher, self.project, self.world = student, teacher, project, world
        self.metric: Metric = metric

    def items(self, batch: Batch, views: Mapping[str, str]) -> float:
        """Rows of a batch, or their weights; see `Counted`."""
        return float(row_weights(batch).sum())

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the batch."""
        student = z[self.student]
        teacher = z.numbers("vector") if self.teacher is None else z[self.teacher]
        teacher = teacher.detach().to(student)
        with torch.autocast(student.device.type, enabled=False):
            if self.project is not None:
                student = self.project(student)
        if student.shape != teacher.shape:
            raise ValueError(
                f"the student has {student.shape[1]} dimensions, the teacher {teacher.shape[1]}: give project=…"
            )
        errors = self._errors(widen(student), widen(teacher))
        values, counts = weighted(z, errors, torch.ones_like(errors))
        return LossOutput(self.world.mean(values, counts, z.items.get(self)))

    def _errors(self, student: Tensor, teacher: Tensor) -> Tensor:
        match self.metric:
            case "mse":
                return (student - teacher).square().mean(1)
            case "l2":
                return torch.linalg.vector_norm(student - teacher, dim=1)
            case "cosine":
                return 1 - (unit(student) * unit(teacher)).sum(1)
