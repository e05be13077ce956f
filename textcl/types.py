"""The values that travel through a training step: tokens, batches, embeddings and losses.

All of them are frozen; letters in the shapes are B rows, T tokens of all rows together, L padded
length, D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """Rows of token ids, one after another, without padding.

    Args:
        ids: Token ids of all rows, special tokens included.
        lengths: Tokens of each row; 0 is allowed. Stays on the CPU, so that reading it never waits for a device.
    """

    ids: Int[Tensor, " T"]
    lengths: Int[Tensor, " B"]

    @classmethod
    def from_lists(cls, rows: Sequence[Sequence[int]]) -> Tokens:
        """Pack lists of token ids."""
        ids = torch.tensor([token for row in rows for token in row], dtype=torch.long)
        return cls(ids, torch.tensor([len(row) for row in rows], dtype=torch.long))

    @staticmethod
    def concatenate(parts: Sequence[Tokens]) -> Tokens:
        """Rows of all parts, in order."""
        if len(parts) == 1:
            return parts[0]
        return Tokens(torch.cat([p.ids for p in parts]), torch.cat([p.lengths for p in parts]))

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def offsets(self) -> Int[Tensor, " _"]:
        """Where each row starts in `ids`, and the end of the last one; on the CPU."""
        return torch.nn.functional.pad(self.lengths.cumsum(0), (1, 0))

    def rows(self, start: int, stop: int) -> Tokens:
        """Rows `start` to `stop` (exclusive)."""
        offsets = self.offsets
        return Tokens(self.ids[offsets[start] : offsets[stop]], self.lengths[start:stop])

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
        columns = torch.arange(width)
        mask = (columns < self.lengths[:, None]).to(self.ids.device)
        ids = self.ids.new_full((len(self), width), pad_id)
        ids[mask] = self.ids
        return ids, mask

    def to(self, device: torch.device | str) -> Tokens:
        """The ids on `device`; the lengths stay on the CPU."""
        return replace(self, ids=self.ids.to(device, non_blocking=True))


@dataclass(frozen=True)
class Batch:
    """One batch as the encoders see it.

    Args:
        tokens: Token rows of every view.
        rows: Index of each row in the data set.
        groups: Text identity of every view: equal ids mean equal source text (methods.md 0, duplicates).
        labels: Class ids (B,), or multi-hot rows (B, classes) for several labels.
        scores: Gold similarity of graded pairs.
    """

    tokens: Mapping[str, Tokens]
    rows: Int[Tensor, " B"]
    groups: Mapping[str, Int[Tensor, " B"]]
    labels: Int[Tensor, " B"] | Float[Tensor, "B classes"] | None = None
    scores: Float[Tensor, " B"] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device | str) -> Batch:
        """The batch on `device`."""
        return Batch(
            {view: tokens.to(device) for view, tokens in self.tokens.items()},
            self.rows.to(device),
            {view: groups.to(device) for view, groups in self.groups.items()},
            None if self.labels is None else self.labels.to(device),
            None if self.scores is None else self.scores.to(device),
        )

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
            )


@dataclass(frozen=True)
class Embeddings:
    """What the encoders made of a batch, by name: `z["anchor"]` is (B, D).

    Args:
        by_name: Embeddings, float32 or wider, not normalised.
        rows: Index of each row in the data set.
        groups: Text identity of every name, as in `Batch`.
        labels: As in `Batch`.
        scores: As in `Batch`.
    """

    by_name: Mapping[str, Float[Tensor, "B _"]]
    rows: Int[Tensor, " B"]
    groups: Mapping[str, Int[Tensor, " B"]] = field(default_factory=dict[str, Tensor])
    labels: Int[Tensor, " B"] | Float[Tensor, "B classes"] | None = None
    scores: Float[Tensor, " B"] | None = None

    @classmethod
    def of(
        cls,
        labels: Tensor | None = None,
        scores: Tensor | None = None,
        groups: Mapping[str, Tensor] | None = None,
        **by_name: Tensor,
    ) -> Embeddings:
        """Embeddings from bare tensors, for tests and experiments: `Embeddings.of(anchor=a, positive=b)`."""
        first = next(iter(by_name.values()))
        rows = torch.arange(len(first), device=first.device)
        return cls(by_name, rows, groups or {}, labels, scores)

    def __getitem__(self, name: str) -> Float[Tensor, "B _"]:
        if name not in self.by_name:
            given = ", ".join(f"'{known}'" for known in self.by_name)
            raise KeyError(f"the objective needs '{name}', but the routes give {given}")
        return self.by_name[name]

    def __len__(self) -> int:
        return len(self.rows)

    def group(self, name: str) -> Int[Tensor, " B"]:
        """Text identity of `name`; where nothing is known every row is its own text."""
        return self.groups.get(name, self.rows)

    def with_vectors(self, by_name: Mapping[str, Tensor]) -> Embeddings:
        """The same rows with other vectors."""
        return replace(self, by_name=by_name)


@dataclass(frozen=True)
class LossOutput:
    """A loss and what to log beside it.

    Args:
        loss: Scalar with a graph.
        terms: Detached scalars for the log.
    """

    loss: Float[Tensor, ""]
    terms: Mapping[str, Float[Tensor, ""]] = field(default_factory=dict[str, Tensor])
