"""Places of the rows of a packed batch, as the kinds of attention read them; the same for all layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Int, Int32
from torch import Tensor

from textcl.encoder.packing import buckets as bucketed_attention
from textcl.encoder.packing.reach import Reach, visible_keys
from textcl.transfer import ON_HOST, to_device


@dataclass(frozen=True)
class Places:
    """Places of the rows of a packed batch, for the attention of a GPU.

    Args:
        offsets: Where each row starts, and the end of the last one.
        rows: Row of each token.
        padded: Place of each token in the batch when its rows are padded to the longest.
        real: True on real tokens of the padded batch.
    """

    offsets: Int32[Tensor, " B1"]
    rows: Int[Tensor, " T"]
    padded: Int[Tensor, " T"]
    real: Bool[Tensor, " BL"]

    @classmethod
    def of(cls, lengths: Int[Tensor, " B"]) -> Places:
        """The places of rows of these lengths, on the CPU."""
        given = lengths.numpy()
        offsets = np.concatenate([[0], given.cumsum()])
        rows, longest = np.repeat(np.arange(len(given)), given), int(given.max())
        padded = np.arange(offsets[-1]) - offsets[rows] + rows * longest
        real = np.zeros(len(given) * longest, dtype=np.bool_)
        real[padded] = True
        return cls(
            torch.from_numpy(offsets.astype(np.int32)),
            *(torch.from_numpy(x) for x in (rows, padded, real)),
        )


@dataclass(frozen=True)
class Packing:
    """Rows of a packed batch: their lengths, and the places of their tokens.

    Args:
        lengths: Tokens of each row, none 0, equal ones side by side; on the CPU.
        attend: False for tokens that none attends to; all may be attended to when None.
        places: What the attention of a card reads; made when it is asked for where None.
    """

    lengths: Int[Tensor, " B"] = field(metadata=ON_HOST)
    attend: Bool[Tensor, " T"] | None = None
    places: Places | None = None

    @classmethod
    def of(
        cls, lengths: Int[Tensor, " B"], attend: Bool[Tensor, " T"] | None, device: torch.device
    ) -> Packing:
        """The packing of a batch that will run on a device."""
        return cls(lengths, attend, None if device.type == "cpu" else Places.of(lengths))

    @cached_property
    def groups(self) -> list[tuple[int, int]]:
        """(rows, length) of each run of equally long rows."""
        lengths = self.lengths.numpy()
        firsts = np.flatnonzero(np.diff(lengths, prepend=-1))
        rows = np.diff(firsts, append=len(lengths))
        return list(zip(rows.tolist(), lengths[firsts].tolist(), strict=True))

    @cached_property
    def _buckets(self) -> dict[int, bucketed_attention.Buckets]:
        return {}

    def buckets(self, heads: int) -> bucketed_attention.Buckets:
        """Rows by buckets of padded widths; the same for all layers."""
        if heads not in self._buckets:
            self._buckets[heads] = bucketed_attention.Buckets.of(self.lengths, heads)
        return self._buckets[heads]

    @cached_property
    def mask(self) -> Bool[Tensor, "B L"]:
        """True on real tokens of the padded batch; on the CPU."""
        return torch.from_numpy(np.arange(self.longest) < self.lengths.numpy()[:, None])

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return int(self.lengths.max())

    @cached_property
    def _on_device(self) -> dict[torch.device, Places]:
        return {}

    @cached_property
    def _visible(self) -> dict[Reach, Tensor]:
        return {}

    def places_on(self, device: torch.device) -> Places:
        """Places of the rows on a device; the same tensors for all layers."""
        if self.places is not None:
            return self.places
        if device not in self._on_device:
            self._on_device[device] = to_device(Places.of(self.lengths), device)
        return self._on_device[device]

    def visible(self, device: torch.device, reach: Reach) -> Bool[Tensor, "B 1 #L L"]:
        """Mask of the keys of the padded batch that a query attends to; the same for all layers."""
        if reach not in self._visible:
            places = self.places_on(device)
            keys = places.real
            if self.attend is not None:
                keys = keys.index_copy(0, places.padded, self.attend)
            near = reach.mask(self.longest, device)
            keys = keys.view(len(self.lengths), 1, 1, self.longest)
            self._visible[reach] = visible_keys(keys, near)
        return self._visible[reach]
