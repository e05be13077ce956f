"""Objectives made of objectives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count

import torch
from torch import Tensor, nn

from textcl.arithmetic import widen
from textcl.types import Embeddings, LossOutput, Statistics


class WeightedSum(nn.Module):
    """Σ weight · objective on the same batch.

    Args:
        parts: Weights and objectives.
    """

    def __init__(self, parts: Sequence[tuple[float, nn.Module]]) -> None:
        super().__init__()
        self.weights = [weight for weight, _ in parts]
        self.parts = nn.ModuleList(part for _, part in parts)

    def forward(self, z: Embeddings) -> LossOutput:
        """The sum, with the loss of each part in its terms; of equal statistics, those of the first part count."""
        outputs: list[LossOutput] = [part(z) for part in self.parts]
        terms: dict[str, Tensor] = {}
        for part, output in zip(self.parts, outputs, strict=True):
            terms |= output.terms
            terms[_unused(f"loss/{type(part).__name__}", terms)] = output.loss.detach()
        losses = [w * output.loss for w, output in zip(self.weights, outputs, strict=True)]
        parts_statistics = [
            output.statistics for output in outputs if output.statistics is not None
        ]
        return LossOutput(torch.stack(losses).sum(), terms, partial(_first_of, parts_statistics))


def mean_of(objectives: Sequence[nn.Module]) -> nn.Module:
    """The mean of objectives on the same batch; of one, that objective itself."""
    if len(objectives) == 1:
        return objectives[0]
    return WeightedSum([(1 / len(objectives), objective) for objective in objectives])


class Projected(nn.Module):
    """An objective that reads projections of some embeddings, under the names "projected_anchor" and so on.

    Args:
        projector: From embeddings to what is compared; left out after training.
        objective: What reads them; it also sees the embeddings themselves.
        names: The embeddings that are projected.

    Source: Chen et al. 2020, https://arxiv.org/abs/2002.05709
    """

    def __init__(
        self,
        projector: nn.Module,
        objective: nn.Module,
        names: Sequence[str] = ("anchor", "positive"),
    ) -> None:
        super().__init__()
        self.projector, self.objective, self.names = projector, objective, tuple(names)

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the batch."""
        with torch.autocast(z.rows.device.type, enabled=False):
            vectors = {f"projected_{name}": self.projector(widen(z[name])) for name in self.names}
        groups = {f"projected_{name}": z.group(name) for name in self.names}
        both = replace(z, by_name={**z.by_name, **vectors}, groups={**z.groups, **groups})
        return self.objective(both)


def mlp(dimension: int, width: int) -> nn.Sequential:
    """SimCLR's projector: a linear layer, ReLU and a linear layer to `width` numbers."""
    return nn.Sequential(nn.Linear(dimension, dimension), nn.ReLU(), nn.Linear(dimension, width))


class Alternate(nn.Module):
    """The objectives take turns, one a batch.

    Whose turn it is counts on with every loss and is part of the state. All embeddings are made for every batch.

    Args:
        parts: Weights and objectives, in the order of their turns.
    """

    def __init__(self, parts: Sequence[tuple[float, nn.Module]]) -> None:
        super().__init__()
        self.weights = [weight for weight, _ in parts]
        self.parts = nn.ModuleList(part for _, part in parts)
        self.turn = 0

    def forward(self, z: Embeddings) -> LossOutput:
        """The loss of the part whose turn it is, times its weight."""
        index, self.turn = self.turn, (self.turn + 1) % len(self.parts)
        output: LossOutput = self.parts[index](z)
        return replace(output, loss=self.weights[index] * output.loss)

    def get_extra_state(self) -> Tensor:
        """Whose turn it is, as a tensor so that any checkpoint format holds it."""
        return torch.tensor(self.turn)

    def set_extra_state(self, state: Tensor) -> None:
        """Go on with this part."""
        self.turn = int(state)


def _first_of(parts_statistics: Sequence[Callable[[], Statistics]]) -> Statistics:
    merged: Statistics = {}
    for statistics in parts_statistics:
        merged = {**statistics(), **merged}
    return merged


def _unused(name: str, terms: Mapping[str, Tensor]) -> str:
    """The name, numbered from 2 where parts of one kind share it."""
    numbered = (name if number == 1 else f"{name} {number}" for number in count(1))
    return next(candidate for candidate in numbered if candidate not in terms)
