"""Inputs of a packed model beside the ids: positions, masks and the packing of its one row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int, Int64
from torch import Tensor
from transformers import PreTrainedModel

from textcl.encoder.packing.places import Packing
from textcl.types import Changes, Tokens, ranges


@dataclass(frozen=True)
class Packed:
    """Inputs of a packed model beside the ids, by place.

    Args:
        positions: Position ids.
        keep: False where a view cuts the embedding output of a token out; None where none does.
        rows: Row of the batch of each place, where views cut columns of the rows.
        packing: What the attention reads.
        missing: Places of a row of padding at the end.
    """

    positions: Int[Tensor, " P"]
    keep: Bool[Tensor, " P"] | None
    rows: Int[Tensor, " P"] | None
    packing: Packing
    missing: int = 0

    @classmethod
    def of(
        cls,
        backbone: PreTrainedModel,
        tokens: Tokens,
        order: Int64[np.ndarray, " R"],
        places: Int64[np.ndarray, " T"],
    ) -> Packed:
        """The inputs for tokens in an order of their rows.

        Args:
            backbone: A packed model.
            tokens: Of the batch.
            order: Rows in their order.
            places: Tokens in their order.
        """
        changes = tokens.changes or Changes()
        lengths = tokens.lengths.numpy()[order]
        missing = missing_tokens(backbone.device, len(places))

        def padded(values: Tensor, last: bool | int) -> Tensor:
            array = values.cpu().numpy()[places]
            return torch.from_numpy(np.pad(array, (0, missing), constant_values=last))

        positions = _positions(backbone, tokens, places, lengths)
        rows = None
        if changes.features is not None:
            rows = torch.from_numpy(np.pad(np.repeat(order, lengths), (0, missing)))
        padded_lengths = np.append(lengths, missing) if missing else lengths
        return cls(
            torch.from_numpy(np.pad(positions, (0, missing), constant_values=positions[0])),
            None if changes.embed is None else padded(changes.embed, True),
            rows,
            Packing.of(
                torch.from_numpy(padded_lengths),
                None if changes.attend is None else padded(changes.attend, True),
                backbone.device,
            ),
            missing,
        )


def missing_tokens(device: torch.device, count: int) -> int:
    """Tokens of a row that is thrown away, so that batches on a CPU come in few different sizes.

    oneDNN makes a kernel for every size that it meets and keeps many of them: a training step is 14 % faster with
    rounded sizes, and encoding does not grow in memory with the texts.
    """
    return -count % (64 if count > 512 else 16) if device.type == "cpu" else 0


def padding_id(backbone: PreTrainedModel) -> int | None:
    """The id that positions are counted from, as RoBERTa does; None where they are counted from 0."""
    table = getattr(getattr(backbone, "embeddings", None), "position_embeddings", None)
    return getattr(table, "padding_idx", None)


def _positions(
    backbone: PreTrainedModel,
    tokens: Tokens,
    places: Int64[np.ndarray, " T"],
    lengths: Int64[np.ndarray, " R"],
) -> Int64[np.ndarray, " T"]:
    padding = padding_id(backbone)
    if tokens.changes is not None and tokens.changes.positions is not None:
        changed = tokens.changes.positions.cpu().numpy()[places]
        return changed + (0 if padding is None else padding + 1)
    if padding is None:
        return ranges(np.zeros_like(lengths), lengths)
    # RoBERTa counts from its padding id and gives a padding token inside a text no position of its own.
    real = (tokens.ids.cpu().numpy()[places] != padding).astype(np.int64)
    count = real.cumsum()
    first = np.repeat(lengths.cumsum() - lengths, lengths)
    return (count - (count - real)[first]) * real + padding
