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
    """P × K batches: P blocks of K rows of one class each, with as many blocks of a class as it has rows.

    Every anchor has positives whatever the number of classes. A large class fills several blocks of a batch, and the
    blocks of each class are spread evenly over the epoch. Every row comes once an epoch, except for as many as would
    make an incomplete batch, which are drawn anew for each epoch. What a class has left over after its blocks, at most
    K - 1 rows, goes into the last batches that are made up.

    Args:
        labels: Class id of each row of the data set.
        batch_size: P · K, over all processes.
        rows_per_class: K.
        seed: Seed of the run.

    Raises:
        UserError: If a batch is not a whole number of blocks.

    Source: Hermans et al. 2017, https://arxiv.org/abs/1703.07737, who draw P different classes with equal probability

    Note: Drawn with equal probability, rare classes would be seen many times an epoch, and common ones in part.
    """

    labels: np.ndarray
    batch_size: int
    rows_per_class: int
    seed: int
    _plans: dict[int, np.ndarray] = field(init=False, default_factory=dict[int, np.ndarray])

    def __post_init__(self) -> None:
        if self.batch_size % self.rows_per_class:
            raise UserError(
                f"batch_size={self.batch_size} is not a multiple of rows_per_class={self.rows_per_class}"
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
        order = rng.permutation(len(self.labels))[: len(self) * self.batch_size]
        blocks: list[np.ndarray] = []
        times: list[np.ndarray] = []
        rest: list[np.ndarray] = []
        for each in np.unique(self.labels):
            rows = order[self.labels[order] == each]
            count = len(rows) // self.rows_per_class
            whole = count * self.rows_per_class
            blocks.append(rows[:whole].reshape(count, self.rows_per_class))
            times.append((np.arange(count) + rng.random()) / max(1, count))
            rest.append(rows[whole:])
        spread = np.concatenate(blocks)[np.argsort(np.concatenate(times), kind="stable")]
        left_over = [rest[place] for place in rng.permutation(len(rest))]
        plan = np.concatenate([spread.ravel(), *left_over]).reshape(len(self), self.batch_size)
        # rows in any order, or a process's share could be a single class
        return rng.permutation(rng.permuted(plan, axis=1))
