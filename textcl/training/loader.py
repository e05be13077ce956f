"""Loading of batches: which rows are drawn when, and how they become tokens.

Nothing here has a state of its own: the rows of a batch follow from (seed, epoch, index), and every random draw of a
view from (seed, epoch, row, view). A run resumes from two numbers, and workers or processes change nothing. Only rows
that are streamed have a place, which `Loader.place` gives for checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from textcl.data.roles import NUMBERS, text_group
from textcl.data.rows import Rows
from textcl.data.streamed import StreamedRows
from textcl.distributed import World
from textcl.encoder.reader import Reader
from textcl.training.samplers import Sampler, StreamBatches
from textcl.training.token_table import TokenTable, cached_tokens
from textcl.types import ABSENT, UNLABELLED, Batch, Tokens
from textcl.views.view import View


@dataclass(frozen=True)
class Collate:
    """Turns rows into a batch.

    Args:
        views: The views of the method, by name.
        readers: From texts to token rows by view, with the prompt in front and cut to the length of training.
        seed: Seed of the run.
        classes: Label names in the order of their ids, by role: "label", "labels", or those of several label columns.
        tables: Tokens of all rows by view, as its reader would make them; views that are not here are tokenised.
    """

    views: Mapping[str, View]
    readers: Mapping[str, Callable[[Sequence[str]], Tokens]]
    seed: int
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    tables: Mapping[str, TokenTable] = field(default_factory=dict[str, TokenTable])
    _ids: dict[str, dict[str, int]] = field(init=False, default_factory=dict[str, dict[str, int]])

    def __post_init__(self) -> None:
        for role, names in self.classes.items():
            self._ids[role] = {name: index for index, name in enumerate(names)}

    def texts(
        self, rows: Sequence[Mapping[str, object]], index: np.ndarray, epoch: int
    ) -> dict[str, list[str]]:
        """The texts of every view of the rows."""
        numbered = list(zip(rows, index.tolist(), strict=True))
        return {
            name: [view.draw(row, self.seed, epoch, i, name) for row, i in numbered]
            for name, view in self.views.items()
        }

    def tokens(self, name: str, texts: Sequence[str]) -> Tokens:
        """The tokens of the texts of a view, of which "" has none."""
        present = torch.tensor([bool(text) for text in texts])
        tokens = self.readers[name]([text for text in texts if text])
        if present.all():
            return tokens
        lengths = torch.zeros(len(texts), dtype=torch.long).masked_scatter(present, tokens.lengths)
        return _marked(self.readers[name], replace(tokens, lengths=lengths, prompt=None))

    def kept(
        self, name: str, rows: Sequence[Mapping[str, object]], index: np.ndarray, epoch: int
    ) -> Tokens:
        """The tokens of what a view shows of the rows, from its table."""
        view = self.views[name]
        numbered = zip(rows, index.tolist(), strict=True)
        places = np.array(
            [view.place_in(row, self.seed, epoch, number) for row, number in numbered]
        )
        return _marked(self.readers[name], self.tables[name].take(index, places))

    def __call__(
        self, rows: Sequence[Mapping[str, object]], index: np.ndarray, epoch: int
    ) -> Batch:
        """The batch of the rows with these numbers."""
        texts = self.texts(rows, index, epoch)
        numbered = list(zip(rows, index.tolist(), strict=True))
        groups = {
            name: torch.tensor([self._group(view, row, epoch, i, name) for row, i in numbered])
            for name, view in self.views.items()
        }
        scores = [cast(float, row["score"]) for row in rows] if "score" in rows[0] else None
        return Batch(
            tokens={
                name: self.views[name].change(
                    self.kept(name, rows, index, epoch)
                    if name in self.tables
                    else self.tokens(name, shown),
                    self.seed,
                    epoch,
                    index.tolist(),
                    name,
                )
                for name, shown in texts.items()
            },
            rows=torch.from_numpy(np.asarray(index, dtype=np.int64)),
            groups=groups,
            labels=self._labels(rows),
            scores=None if scores is None else torch.tensor(scores),
            given={role: _table(rows, role) for role in NUMBERS if role in rows[0]},
        )

    def _group(
        self, view: View, row: Mapping[str, object], epoch: int, index: int, slot: str
    ) -> int:
        identity = view.identify(row, self.seed, epoch, index, slot)
        return text_group(identity) if identity else ABSENT

    def _labels(self, rows: Sequence[Mapping[str, object]]) -> torch.Tensor | None:
        columns = [
            _hot(rows, ids) if role == "labels" else _class_ids(rows, role, ids)
            for role, ids in self._ids.items()
        ]
        return torch.stack(columns, 1) if len(columns) > 1 else next(iter(columns), None)


def _hot(rows: Sequence[Mapping[str, object]], ids: Mapping[str, int]) -> torch.Tensor:
    hot = torch.zeros((len(rows), len(ids)))
    for i, row in enumerate(rows):
        hot[i, [ids[name] for name in cast("list[str]", row["labels"])]] = 1.0
    return hot


def _class_ids(
    rows: Sequence[Mapping[str, object]], role: str, ids: Mapping[str, int]
) -> torch.Tensor:
    names = [cast("str | None", row[role]) for row in rows]
    return torch.tensor([UNLABELLED if name is None else ids[name] for name in names])


def _marked(read: Callable[[Sequence[str]], Tokens], tokens: Tokens) -> Tokens:
    return read.mark(tokens) if isinstance(read, Reader) else tokens


def _table(rows: Sequence[Mapping[str, object]], role: str) -> torch.Tensor:
    """The numbers of a role, a row each, NaN behind the end of a short list."""
    values = [row[role] for row in rows]
    if not isinstance(values[0], list):
        return torch.tensor(values, dtype=torch.float32)
    lists = [torch.tensor(value, dtype=torch.float32) for value in values]
    return pad_sequence(lists, batch_first=True, padding_value=math.nan)


@dataclass(frozen=True)
class Loader:
    """Batches of one process, tokenised ahead in a thread.

    Args:
        rows: The data set.
        sampler: Which rows make which batch.
        collate: Turns rows into a batch.
        world: The processes that share each batch; rank r takes the r-th consecutive part.
        ahead: Batches prepared in advance.
        ready: The last that the thread does with a batch, such as `Parts.ready`.
    """

    rows: Rows
    sampler: Sampler
    collate: Collate
    world: World
    ahead: int = 2
    ready: Callable[[Batch], Batch] = lambda batch: batch

    def with_tokens(self, readers: Mapping[str, Reader], log: Callable[[str], object]) -> Loader:
        """The same batches, from the tokens of whole columns on disk where no augmentation changes their texts.

        Args:
            readers: Those of `collate`.
            log: Called with a line for the user when tokens have to be made.
        """
        views = self.collate.views
        stored = (*self.rows.text_roles, *self.rows.list_roles)
        plain = [
            name for name, view in views.items() if not view.augmentations and view.column in stored
        ]
        wanted = {name: (views[name].column, readers[name]) for name in plain}
        made = {
            (column, read): cached_tokens(self.rows, column, read, log)
            for column, read in dict.fromkeys(sorted(wanted.values(), key=lambda pair: pair[0]))
        }
        tables = {name: table for name, key in wanted.items() if (table := made[key]) is not None}
        return replace(self, collate=replace(self.collate, tables=tables))

    def batch(self, epoch: int, index: int) -> Batch:
        """This process's share of a batch."""
        numbers = self.sampler.batch(epoch, index)
        mine = np.array_split(numbers, self.world.size)[self.world.rank]
        return self.collate(self.rows[mine.tolist()], mine, epoch)

    def place(self, epoch: int, index: int) -> Mapping[str, object] | None:
        """Position from which `go_on` begins with a batch; None where every batch can be made at any time."""
        if isinstance(self.rows, StreamedRows) and isinstance(self.sampler, StreamBatches):
            return self.rows.place_of(self.sampler.first(epoch, index))
        return None

    def go_on(self, place: Mapping[str, object] | None) -> None:
        """Make batches from a place of a stream on."""
        if isinstance(self.rows, StreamedRows) and place is not None:
            self.rows.go_on(place)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `start` on."""
        count = len(self.sampler)
        with ThreadPoolExecutor(1, thread_name_prefix="textcl-loader") as pool:
            waiting = [
                pool.submit(self._ready, epoch, i)
                for i in range(start, min(count, start + self.ahead))
            ]
            for index in range(start, count):
                if index + self.ahead < count:
                    waiting.append(pool.submit(self._ready, epoch, index + self.ahead))
                yield waiting.pop(0).result()

    def _ready(self, epoch: int, index: int) -> Batch:
        return self.ready(self.batch(epoch, index))
