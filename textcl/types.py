"""The values that travel through a training step: tokens, batches, embeddings and losses.

All of them are frozen; letters in the shapes are B rows, T tokens of all rows together, L padded
length, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn

from textcl.transfer import ON_HOST, to_device

ABSENT = torch.iinfo(torch.int64).min
"""Text identity of a place without a text, as behind the end of a short list of negatives."""

UNLABELLED = -1
"""Class id of a row without a label in one of several label columns."""

NO_TARGET = -1
"""Target of a token that a masked language model does not have to find."""


@dataclass(frozen=True)
class Changes:
    """Changes of token-level views behind the tokens of some rows; None where nothing is changed.

    Args:
        positions: Place of each token in its row, from 0.
        embed: False where the embedding output of a token becomes 0.
        attend: False where no token attends to this one. Poolings still see its state.
        features: False where a column of a row's embedding output becomes 0.
        targets: The id that stood where a masked language model has to find it, and `NO_TARGET` everywhere else.
    """

    positions: Int[Tensor, " T"] | None = None
    embed: Bool[Tensor, " T"] | None = None
    attend: Bool[Tensor, " T"] | None = None
    features: Bool[Tensor, "B D"] | None = None
    targets: Int[Tensor, " T"] | None = None

    def take(self, tokens: slice | Tensor, rows: slice | Tensor) -> Changes:
        """The changes of some tokens, which make these rows."""
        return Changes(
            None if self.positions is None else self.positions[tokens],
            None if self.embed is None else self.embed[tokens],
            None if self.attend is None else self.attend[tokens],
            None if self.features is None else self.features[rows],
            None if self.targets is None else self.targets[tokens],
        )

    @staticmethod
    def concatenate(parts: Sequence[Tokens]) -> Changes | None:
        """The changes of all parts; what a part does not change stays as it is."""
        if all(part.changes is None for part in parts):
            return None
        given = [part.changes or Changes() for part in parts]
        width = next((c.features.shape[1] for c in given if c.features is not None), 0)

        def joined(
            values: Sequence[Tensor | None], unchanged: Callable[[Tokens], Tensor]
        ) -> Tensor | None:
            if all(value is None for value in values):
                return None
            both = zip(values, parts, strict=True)
            filled = [unchanged(part) if value is None else value for value, part in both]
            device = parts[0].ids.device
            return torch.cat([value.to(device, non_blocking=True) for value in filled])

        def every_token(part: Tokens) -> Tensor:
            return torch.ones(len(part.ids), dtype=torch.bool)

        return Changes(
            joined([c.positions for c in given], lambda part: part.places),
            joined([c.embed for c in given], every_token),
            joined([c.attend for c in given], every_token),
            joined(
                [c.features for c in given],
                lambda part: torch.ones(len(part), width, dtype=torch.bool),
            ),
            joined(
                [c.targets for c in given], lambda part: torch.full((len(part.ids),), NO_TARGET)
            ),
        )


@dataclass(frozen=True)
class Tokens:
    """Rows of token ids, one after another, without padding.

    Args:
        ids: Token ids of all rows, special tokens included.
        lengths: Tokens of each row; 0 is allowed. Stays on the CPU, so that reading it never waits for a device.
        changes: What token-level views change behind the tokens.
        prompt: Tokens at the beginning of each row that poolings leave out; none when None. On the CPU, too.
    """

    ids: Int[Tensor, " T"]
    lengths: Int[Tensor, " B"] = field(metadata=ON_HOST)
    changes: Changes | None = None
    prompt: Int[Tensor, " B"] | None = field(default=None, metadata=ON_HOST)

    @classmethod
    def from_lists(cls, rows: Sequence[Sequence[int]]) -> Tokens:
        """Pack lists of token ids."""
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
        # By way of numpy, which reads lists four times as fast as torch.
        ids = np.fromiter(chain.from_iterable(rows), np.int64, int(lengths.sum()))
        return cls(torch.from_numpy(ids), lengths)

    @staticmethod
    def concatenate(parts: Sequence[Tokens]) -> Tokens:
        """Rows of all parts, in order."""
        if len(parts) == 1:
            return parts[0]
        return Tokens(
            torch.cat([p.ids for p in parts]),
            torch.cat([p.lengths for p in parts]),
            Changes.concatenate(parts),
            _joined_prompts(parts),
        )

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def offsets(self) -> Int[Tensor, " _"]:
        """Start of each row in `ids`, and the end of the last one; on the CPU."""
        return torch.from_numpy(np.concatenate([[0], self.lengths.numpy().cumsum()]))

    def rows(self, start: int, stop: int) -> Tokens:
        """Rows `start` to `stop` (exclusive)."""
        offsets = self.offsets
        tokens, rows = slice(int(offsets[start]), int(offsets[stop])), slice(start, stop)
        changes = self.changes and self.changes.take(tokens, rows)
        prompt = None if self.prompt is None else self.prompt[rows]
        return Tokens(self.ids[tokens], self.lengths[rows], changes, prompt)

    @property
    def places(self) -> Int[Tensor, " T"]:
        """Place of each token in its row, from 0; on the CPU."""
        lengths = self.lengths.numpy()
        return torch.from_numpy(ranges(np.zeros_like(lengths), lengths))

    def tokens_of(self, order: Int[Tensor, " R"]) -> Int[Tensor, " _"]:
        """Index of every token when the rows are put in this order, or some of them; on the CPU."""
        lengths, rows = self.lengths.numpy(), order.numpy()
        starts = lengths.cumsum() - lengths
        return torch.from_numpy(ranges(starts[rows], lengths[rows]))

    def take(self, order: Int[Tensor, " R"]) -> Tokens:
        """The rows in another order, or some of them."""
        tokens = self.tokens_of(order).to(self.ids.device, non_blocking=True)
        changes = self.changes and self.changes.take(
            tokens, order.to(tokens.device, non_blocking=True)
        )
        prompt = None if self.prompt is None else self.prompt[order]
        return Tokens(self.ids[tokens], self.lengths[order], changes, prompt)

    def padded(
        self, pad_id: int, width: int | None = None
    ) -> tuple[Int[Tensor, "B L"], Bool[Tensor, "B L"]]:
        """The same rows padded on the right.

        Args:
            pad_id: Id written into the padding.
            width: Padded length L; the longest row (at least 1) when None.

        Returns:
            Ids and a mask that is True on real tokens, both on the device of `ids`.
        """
        longest = max(1, int(self.lengths.max())) if len(self) else 1
        width = longest if width is None else max(width, longest)
        real = torch.from_numpy(np.arange(width) < self.lengths.numpy()[:, None])
        mask = real.to(self.ids.device, non_blocking=True)
        ids = self.ids.new_full((len(self) * width,), pad_id)
        ids.index_copy_(0, self.padded_places(width), self.ids)
        return ids.view(len(self), width), mask

    def padded_places(self, width: int) -> Int[Tensor, " T"]:
        """Place of each token in the flattened rows when they are padded to `width`; on the device of `ids`."""
        starts = np.arange(len(self)) * width
        places = torch.from_numpy(ranges(starts, self.lengths.numpy()))
        return places.to(self.ids.device, non_blocking=True)

    def to(self, device: torch.device | str) -> Tokens:
        """The ids and changes on `device`, in one copy; the lengths stay on the CPU."""
        return to_device(self, device)


def ranges(
    starts: Int64[np.ndarray, " B"], lengths: Int64[np.ndarray, " B"]
) -> Int64[np.ndarray, " T"]:
    """The numbers from each start on, as many as its length, one after another."""
    shift = starts - (lengths.cumsum() - lengths)
    return np.arange(int(lengths.sum())) + np.repeat(shift, lengths)


def _joined_prompts(parts: Sequence[Tokens]) -> Int[Tensor, " B"] | None:
    if all(part.prompt is None for part in parts):
        return None
    none = (torch.zeros_like(part.lengths) for part in parts)
    return torch.cat(
        [z if p.prompt is None else p.prompt for p, z in zip(parts, none, strict=True)]
    )


@dataclass(frozen=True)
class Batch:
    """One batch as the encoders see it.

    Args:
        tokens: Token rows of every view.
        rows: Index of each row in the data set.
        groups: Text identity of every view: equal ids mean equal source text.
        labels: Class ids (B,); those of each of several label columns (B, columns), `UNLABELLED` where a row has none;
            or multi-hot rows (B, classes) for several labels of one column.
        scores: Gold similarity of graded pairs.
        given: Numbers that come with the rows, by role: "weight" of a row, "scores" of a teacher for its positive and
            its negatives (NaN behind the end of a short list), "vector" of a teacher.
        items: For each objective that is a mean over items, how many of them this process has in the average batch of
            the update. The losses of the batches then add up to the mean over all items of the update; empty where an
            update has one batch.
        inputs: Token rows of each encoder, those of its views one after another, where they were made ahead.
        chunks: The same rows in parts that are embedded one by one, where they were made ahead.
    """

    tokens: Mapping[str, Tokens]
    rows: Int[Tensor, " B"]
    groups: Mapping[str, Int[Tensor, " B"]]
    labels: Int[Tensor, " B"] | Int[Tensor, "B columns"] | Float[Tensor, "B classes"] | None = None
    scores: Float[Tensor, " B"] | None = None
    given: Mapping[str, Float[Tensor, "B ..."]] = field(default_factory=dict[str, Tensor])
    items: Mapping[nn.Module, float] = field(default_factory=dict[nn.Module, float])
    inputs: Mapping[str, Tokens] = field(default_factory=dict[str, Tokens])
    chunks: tuple[Batch, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device | str) -> Batch:
        """The batch on `device`, in one copy."""
        return to_device(self, device)

    def split(self, size: int) -> Iterator[Batch]:
        """Consecutive chunks of at most `size` rows."""
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            yield Batch(
                {view: tokens.rows(start, stop) for view, tokens in self.tokens.items()},
                self.rows[start:stop],
                {view: groups[start:stop] for view, groups in self.groups.items()},
                None if self.labels is None else self.labels[start:stop],
                None if self.scores is None else self.scores[start:stop],
                {role: numbers[start:stop] for role, numbers in self.given.items()},
                self.items,
            )


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of a batch by name: `z["anchor"]` is (B, D).

    Args:
        by_name: Embeddings, float32 or wider, not normalised.
        rows: Index of each row in the data set.
        groups: Text identity of every name, as in `Batch`.
        labels: As in `Batch`.
        scores: As in `Batch`.
        given: As in `Batch`.
        items: As in `Batch`.
    """

    by_name: Mapping[str, Float[Tensor, "B _"]]
    rows: Int[Tensor, " B"]
    groups: Mapping[str, Int[Tensor, " B"]] = field(default_factory=dict[str, Tensor])
    labels: Int[Tensor, " B"] | Int[Tensor, "B columns"] | Float[Tensor, "B classes"] | None = None
    scores: Float[Tensor, " B"] | None = None
    given: Mapping[str, Float[Tensor, "B ..."]] = field(default_factory=dict[str, Tensor])
    items: Mapping[nn.Module, float] = field(default_factory=dict[nn.Module, float])

    @classmethod
    def of(
        cls,
        labels: Tensor | None = None,
        scores: Tensor | None = None,
        groups: Mapping[str, Tensor] | None = None,
        given: Mapping[str, Tensor] | None = None,
        **by_name: Tensor,
    ) -> Embeddings:
        """Embeddings from bare tensors, for tests and experiments: `Embeddings.of(anchor=a, positive=b)`."""
        first = next(iter(by_name.values()))
        rows = torch.arange(len(first), device=first.device)
        return cls(by_name, rows, groups or {}, labels, scores, given or {})

    def __getitem__(self, name: str) -> Float[Tensor, "B _"]:
        if name not in self.by_name:
            given = ", ".join(f"'{known}'" for known in self.by_name)
            raise KeyError(f"the objective needs '{name}', but the routes give {given}")
        return self.by_name[name]

    def __len__(self) -> int:
        return len(self.rows)

    def numbers(self, role: str) -> Float[Tensor, "B ..."]:
        """Numbers of a role in `given`.

        Raises:
            KeyError: If rows come without it.
        """
        if role not in self.given:
            raise KeyError(f"the objective needs the numbers '{role}', and the rows have none")
        return self.given[role]

    def group(self, name: str) -> Int[Tensor, " B"]:
        """Text identity of `name`; where nothing is known every row is its own text."""
        return self.groups.get(name, self.rows)

    def with_vectors(self, by_name: Mapping[str, Tensor]) -> Embeddings:
        """The same rows with other vectors."""
        return replace(self, by_name=by_name)


Statistics = dict[str, float | list[float] | list[int] | None]
"""Numbers and histograms for the log, by name; None where a number is undefined."""


@dataclass(frozen=True)
class LossOutput:
    """A loss and what to log beside it.

    Args:
        loss: Scalar with a graph.
        terms: Detached scalars for the log.
        statistics: Computes what is too costly for every update, when a line of the log is written; all processes
            must call it. None where there is nothing to tell.
    """

    loss: Float[Tensor, ""]
    terms: Mapping[str, Float[Tensor, ""]] = field(default_factory=dict[str, Tensor])
    statistics: Callable[[], Statistics] | None = None
