"""Updates of several batches: what each batch has to divide by, so that its loss is a share of one mean over all."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from torch import nn

from textcl.method.method import Method
from textcl.objectives.counted import Counted, counted_parts
from textcl.training.loader import Loader
from textcl.types import Batch


@dataclass(frozen=True)
class ItemCounts:
    """Counts the items of an update before its first batch is embedded, as transformers' Trainer does.

    Args:
        parts: The objectives that are a mean over items.
        views: View of each name that they read.
        accumulation: Batches of an update.
    """

    parts: Mapping[nn.Module, Counted]
    views: Mapping[str, str]
    accumulation: int

    @classmethod
    def of(cls, method: Method, accumulation: int) -> ItemCounts:
        """The counts of a method."""
        views = {name: route.view for name, route in method.routes.items()}
        return cls(counted_parts(method.objective), views, accumulation)

    def batches(self, loader: Loader, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `start` on, each with the items of its update.

        All batches of an update are at hand before the first of them is given. An update may begin in one epoch and
        end in the next; the run's first batch is the first of an update.
        """
        if self.accumulation == 1 or not self.parts:
            yield from loader.batches(epoch, start)
            return
        size = len(loader.sampler)
        end, coming = (epoch + 1) * size, loader.batches(epoch, start)
        waiting: deque[Batch] = deque()
        counts: dict[int, dict[nn.Module, float]] = {}
        ready = epoch * size + start
        for number in range(ready, end):
            first = number - number % self.accumulation
            update = range(first, first + self.accumulation)
            while ready < min(update.stop, end):
                waiting.append(next(coming))
                counts[ready] = self.count(waiting[-1])
                ready += 1
            for other in update:  # of the epoch before or after
                if other not in counts:
                    counts[other] = self.count(loader.batch(*divmod(other, size)))
            counts = {other: counts[other] for other in update}
            items = {
                part: math.fsum(counts[n][part] for n in update) / self.accumulation
                for part in counts[number]
            }
            yield replace(waiting.popleft(), items=items)

    def count(self, batch: Batch) -> dict[nn.Module, float]:
        """Items of a batch, for the parts where they are known."""
        counts = {part: counted.items(batch, self.views) for part, counted in self.parts.items()}
        return {part: count for part, count in counts.items() if count is not None}
