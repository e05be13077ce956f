"""Samplers: which rows make which batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol, runtime_checkable

import numpy as np

from textcl.errors import UserError


@runtime_checkable
class Sampler(Protocol):
    """Which rows make which batch."""

    def __len__(self) -> int:
        """Batches of an epoch."""
        ...

    def batch(self, epoch: int, index: int) -> np.ndarray:
        """Row numbers of a batch, of all processes together."""
        ...


@dataclass(frozen=True)
class ShuffledBatches:
    """Every row once an epoch, in an order that follows from (seed, epoch).

    Args:
        rows: Rows of the data set.
        batch_size: Rows of a batch, over all processes.
        seed: Seed of the run.
        drop_last: Leave the last, incomplete batch out: a small batch has fewer negatives than the rest.
    """

    rows: int
    batch_size: int
    seed: int
    drop_last: bool = True

    def __len__(self) -> int:
        full, rest = divmod(self.rows, self.batch_size)
        return full if self.drop_last or not rest else full + 1

    def batch(self, epoch: int, index: int) -> np.ndarray:
        """Row numbers of a batch."""
        order = _permutation(self.rows, self.seed, epoch)
        return order[index * self.batch_size : (index + 1) * self.batch_size]


@lru_cache(maxsize=2)
def _permutation(rows: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(rows)


@dataclass(frozen=True)
class ClassBatches:
    """P × K batches: P different classes, drawn in proportion to their rows, and K rows of each.

    Every anchor has positives whatever the number of classes. The rows of a class come in an order that follows from
    (seed, epoch), and from the start again when they are through, so a class with fewer than K rows repeats some; an
    epoch has as many rows as the data, each about once.

    Args:
        labels: Class id of each row of the data set.
        batch_size: P · K, over all processes.
        rows_per_class: K.
        seed: Seed of the run.

    Raises:
        UserError: If a batch is not a whole number of classes, or asks for more than there are.

    Source: Hermans et al. 2017, https://arxiv.org/abs/1703.07737, who draw all classes alike

    Note: Classes come nearly as often as in the data; drawn alike, rare ones would be seen many times an epoch.
    """

    labels: np.ndarray
    batch_size: int
    rows_per_class: int
    seed: int
    _plans: dict[int, np.ndarray] = field(init=False, default_factory=dict[int, np.ndarray])

    def __post_init__(self) -> None:
        classes, there = self.batch_size / self.rows_per_class, len(np.unique(self.labels))
        if classes != int(classes):
            raise UserError(
                f"batch_size={self.batch_size} is not a multiple of rows_per_class={self.rows_per_class}"
            )
        if classes > there:
            raise UserError(
                f"batches of {self.batch_size} rows, {self.rows_per_class} of a class, ask for {int(classes)} classes, "
                f"but the data has {there}: choose a smaller batch_size or a larger rows_per_class"
            )

    def __len__(self) -> int:
        return len(self.labels) // self.batch_size

    def batch(self, epoch: int, index: int) -> np.ndarray:
        """Row numbers of a batch."""
        if epoch not in self._plans:
            self._plans.clear()
            self._plans[epoch] = self._plan(epoch)
        return self._plans[epoch][index]

    def _plan(self, epoch: int) -> np.ndarray:
        """The rows of all batches of an epoch."""
        rng = np.random.Generator(np.random.PCG64([self.seed, epoch]))
        ids, counts = np.unique(self.labels, return_counts=True)
        rows = [rng.permutation(np.flatnonzero(self.labels == each)) for each in ids]
        used = np.zeros(len(ids), dtype=np.int64)
        plan = np.empty((len(self), self.batch_size), dtype=np.int64)
        for batch in plan:
            drawn = rng.choice(
                len(ids),
                self.batch_size // self.rows_per_class,
                replace=False,
                p=counts / counts.sum(),
            )
            taken = used[drawn][:, None] + np.arange(self.rows_per_class)
            picked = [
                rows[each][places % len(rows[each])]
                for each, places in zip(drawn, taken, strict=True)
            ]
            # in any order, or a process's share could be a single class
            batch[:] = rng.permutation(np.concatenate(picked))
            used[drawn] += self.rows_per_class
        return plan
