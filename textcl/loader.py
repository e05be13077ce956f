"""From rows to batches: which rows come when, and how they become tokens.

Nothing here has a state of its own: the rows of a batch follow from (seed, epoch, index), and every random draw of a
view from (seed, epoch, row, view). A run resumes from two numbers, and workers or processes change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from textcl.data.roles import text_group
from textcl.data.rows import Rows
from textcl.distributed import World
from textcl.errors import UserError
from textcl.token_table import TokenTable, cached_tokens
from textcl.types import Batch, Tokens
from textcl.views.view import View


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


@dataclass(frozen=True)
class Collate:
    """Turns rows into a batch.

    Args:
        views: The views of the method, by name.
        tokenize: From texts to token rows, cut to the maximum length.
        seed: Seed of the run.
        classes: Label names in the order of their ids, where rows have labels.
        tables: Tokens of all rows by column, as `tokenize` would make them; columns that are not here are tokenised.
    """

    views: Mapping[str, View]
    tokenize: Callable[[Sequence[str]], Tokens]
    seed: int
    classes: Sequence[str] = ()
    tables: Mapping[str, TokenTable] = field(default_factory=dict[str, TokenTable])
    _ids: dict[str, int] = field(init=False, default_factory=dict[str, int])

    def __post_init__(self) -> None:
        self._ids.update({name: index for index, name in enumerate(self.classes)})

    def texts(
        self, rows: Sequence[Mapping[str, Any]], index: np.ndarray, epoch: int
    ) -> dict[str, list[str]]:
        """What every view shows of the rows."""
        numbered = list(zip(rows, index.tolist(), strict=True))
        return {
            name: [view.draw(row, self.seed, epoch, i, name) for row, i in numbered]
            for name, view in self.views.items()
        }

    def tokens(self, name: str, texts: Sequence[str], index: np.ndarray) -> Tokens:
        """The tokens of what a view shows of the rows with these numbers."""
        view = self.views[name]
        if view.augmentations or view.column not in self.tables:
            return self.tokenize(texts)
        return self.tables[view.column].take(index)

    def __call__(self, rows: Sequence[Mapping[str, Any]], index: np.ndarray, epoch: int) -> Batch:
        """The batch of the rows with these numbers."""
        texts = self.texts(rows, index, epoch)
        groups = {
            name: torch.tensor([text_group(row[view.column]) for row in rows])
            for name, view in self.views.items()
        }
        scores = [float(row["score"]) for row in rows] if "score" in rows[0] else None
        return Batch(
            tokens={
                name: self.views[name].change(
                    self.tokens(name, shown, index), self.seed, epoch, index.tolist(), name
                )
                for name, shown in texts.items()
            },
            rows=torch.from_numpy(np.asarray(index, dtype=np.int64)),
            groups=groups,
            labels=self._labels(rows),
            scores=None if scores is None else torch.tensor(scores),
        )

    def _labels(self, rows: Sequence[Mapping[str, Any]]) -> torch.Tensor | None:
        if "labels" in rows[0]:
            hot = torch.zeros((len(rows), len(self.classes)))
            for i, row in enumerate(rows):
                hot[i, [self._ids[name] for name in row["labels"]]] = 1.0
            return hot
        if "label" in rows[0]:
            return torch.tensor([self._ids[row["label"]] for row in rows])
        return None


@dataclass(frozen=True)
class Loader:
    """Batches of one process, tokenised ahead in a thread.

    Args:
        rows: The data set.
        sampler: Which rows make which batch.
        collate: Turns rows into a batch.
        world: The processes that share each batch; rank r takes the r-th consecutive part.
        ahead: Batches prepared in advance.
    """

    rows: Rows
    sampler: Sampler
    collate: Collate
    world: World
    ahead: int = 2

    def with_tokens(
        self, tokenizer: PreTrainedTokenizerBase, max_length: int, tell: Callable[[str], object]
    ) -> Loader:
        """The same batches, from the tokens of whole columns on disk where no augmentation changes their texts.

        Args:
            tokenizer: That of `collate.tokenize`.
            max_length: The same.
            tell: Called with a line for the user when tokens have to be made.
        """
        views = self.collate.views.values()
        found = {
            role: cached_tokens(self.rows, role, tokenizer, max_length, tell)
            for role in sorted({view.column for view in views if not view.augmentations})
        }
        tables = {role: table for role, table in found.items() if table is not None}
        return replace(self, collate=replace(self.collate, tables=tables))

    def batch(self, epoch: int, index: int) -> Batch:
        """This process's share of a batch."""
        numbers = self.sampler.batch(epoch, index)
        mine = np.array_split(numbers, self.world.size)[self.world.rank]
        return self.collate(self.rows[mine.tolist()], mine, epoch)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `start` on."""
        count = len(self.sampler)
        with ThreadPoolExecutor(1, thread_name_prefix="textcl-loader") as pool:
            waiting = [
                pool.submit(self.batch, epoch, i)
                for i in range(start, min(count, start + self.ahead))
            ]
            for index in range(start, count):
                if index + self.ahead < count:
                    waiting.append(pool.submit(self.batch, epoch, index + self.ahead))
                yield waiting.pop(0).result()
