"""Samplers: which rows make which batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Protocol, runtime_checkable

import numpy as np

from textcl.errors import UserError


@runtime_checkable
class Sampler(Protocol):
    """Choice of the rows of each batch."""

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


@dataclass(frozen=True)
class StreamBatches:
    """The rows of a stream by their number, shuffled buffer by buffer, in an order that follows from (seed, buffer).

    A stream has no epochs: the batches of the run are one.

    Args:
        buffer: Rows of a buffer.
        batches: Batches of the run.
        batch_size: Rows of a batch, over all processes.
        seed: Seed of the run.
    """

    buffer: int
    batches: int
    batch_size: int
    seed: int

    def __len__(self) -> int:
        return self.batches

    def batch(self, epoch: int, index: int) -> np.ndarray:
        """Row numbers of a batch."""
        places = self.first(epoch, index) + np.arange(self.batch_size)
        buffers = places // self.buffer
        orders = {k: _permutation(self.buffer, self.seed, k) for k in np.unique(buffers).tolist()}
        return np.array(
            [
                k * self.buffer + orders[k][p % self.buffer]
                for k, p in zip(buffers.tolist(), places.tolist(), strict=True)
            ]
        )

    def first(self, epoch: int, index: int) -> int:
        """A row of the buffer in which a batch begins."""
        return (epoch * self.batches + index) * self.batch_size


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


@dataclass(frozen=True)
class SourceBatches:
    """Batches of several data sets, each as often as its weight says.

    An epoch has as many batches as the rows of all data sets fill, shared by weight and in an order that follows from
    (seed, epoch). A data set that comes more often than its rows would fill is passed over again, in another order.

    Args:
        sources: Data set of each row, from 0.
        weights: Share of each data set among all batches, or of each batch where `mixed`; any sum.
        batch_size: Rows of a batch, over all processes.
        seed: Seed of the run.
        mixed: Whether each batch holds rows of all data sets. Rows of one data set are harder negatives of each other.

    Raises:
        UserError: If a data set has fewer rows than a batch takes of it.
    """

    sources: np.ndarray
    weights: Sequence[float]
    batch_size: int
    seed: int
    mixed: bool = False
    _plans: dict[int, np.ndarray] = field(init=False, default_factory=dict[int, np.ndarray])

    def __post_init__(self) -> None:
        for source, (size, rows) in enumerate(zip(self._blocks, self._rows, strict=True)):
            if len(rows) < size:
                raise UserError(
                    f"data set {source + 1} has {len(rows):,} rows, fewer than the {size} that a batch takes of it: "
                    "lower batch_size, or mix the data sets in each batch with mixed_batches=true"
                )

    def __len__(self) -> int:
        return len(self.sources) // self.batch_size

    def visits(self) -> list[float]:
        """Mean number of times that a row of each data set comes in an epoch."""
        return [
            count * size / len(rows)
            for count, size, rows in zip(self._counts, self._blocks, self._rows, strict=True)
        ]

    def batch(self, epoch: int, index: int) -> np.ndarray:
        """Row numbers of a batch."""
        if self.mixed:
            parts = [
                self._block(source, epoch * len(self) + index)
                for source in range(len(self.weights))
            ]
            return np.concatenate(parts)
        if epoch not in self._plans:
            self._plans.clear()
            turns = np.repeat(np.arange(len(self.weights)), self._counts)
            self._plans[epoch] = np.random.Generator(
                np.random.PCG64([self.seed, epoch])
            ).permutation(turns)
        turns = self._plans[epoch]
        source = int(turns[index])
        earlier = int((turns[:index] == source).sum())
        return self._block(source, epoch * self._counts[source] + earlier)

    @cached_property
    def _rows(self) -> list[np.ndarray]:
        return [np.flatnonzero(self.sources == source) for source in range(len(self.weights))]

    @cached_property
    def _blocks(self) -> list[int]:
        """Rows that a batch takes of each data set, where it takes some."""
        if not self.mixed:
            return [self.batch_size] * len(self.weights)
        return _shared(self.weights, self.batch_size)

    @cached_property
    def _counts(self) -> list[int]:
        """Batches of an epoch that take rows of each data set."""
        return [len(self)] * len(self.weights) if self.mixed else _shared(self.weights, len(self))

    def _block(self, source: int, number: int) -> np.ndarray:
        """The rows that a data set gives for the `number`-th time in the run: without repetition within a pass."""
        rows, size = self._rows[source], self._blocks[source]
        if not size:
            return rows[:0]
        passes, place = divmod(number, len(rows) // size)
        order = _permutation_of(len(rows), self.seed, source, passes)
        return rows[order[place * size : (place + 1) * size]]


@lru_cache(maxsize=16)
def _permutation_of(rows: int, seed: int, source: int, passes: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64([seed, 1 + source, passes])).permutation(rows)


def _shared(weights: Sequence[float], total: int) -> list[int]:
    """A whole number divided by weights, what is left over by the largest remainders."""
    quotas = [weight / math.fsum(weights) * total for weight in weights]
    counts = [math.floor(quota) for quota in quotas]
    order = sorted(range(len(quotas)), key=lambda i: (counts[i] - quotas[i], i))
    for place in order[: total - sum(counts)]:
        counts[place] += 1
    return counts
