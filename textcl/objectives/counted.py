"""Objectives that are a mean over items which are known before anything is embedded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

from torch import nn

from textcl.objectives.combine import WeightedSum
from textcl.types import Batch


@runtime_checkable
class Counted(Protocol):
    """A mean over items, such as rows, rows times weights, or masked tokens.

    Over an update of several batches it is one mean over all of their items: `forward` hands `z.items.get(self)` to
    `World.mean`. An objective that compares the rows of a batch with each other cannot be: a batch does not see the
    rows of another.
    """

    def items(self, batch: Batch, views: Mapping[str, str]) -> float | None:
        """Items of the rows of one process; None where only their embeddings tell.

        Args:
            batch: The rows, on the CPU.
            views: View of each name that the objective reads.
        """
        ...


def parts_of(objective: nn.Module) -> Iterator[nn.Module]:
    """An objective, or those that it is a sum of."""
    if isinstance(objective, WeightedSum):
        for part in objective.parts:
            yield from parts_of(part)
    else:
        yield objective


def counted_parts(objective: nn.Module) -> dict[nn.Module, Counted]:
    """The parts of an objective that are `Counted`."""
    return {part: part for part in parts_of(objective) if isinstance(part, Counted)}
