"""Poolings of the hidden states of a row into one vector.

Rows come packed: hidden states (T, D) of all rows one after another, and the length of each row. A
row without tokens gives the zero vector. Sums are taken in float32 or wider.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from textcl.errors import UserError
from textcl.transfer import to_device
from textcl.types import ranges

_LAST = (-1,)

# Which hidden states a pooling reads: 0 is the embedding output, -1 the last layer. They are averaged.
_LAYERS: Mapping[str, tuple[int, ...]] = {
    "cls": _LAST,
    "mean": _LAST,
    "max": _LAST,
    "first_last": (1, -1),
    "first_last_embedding": (0, -1),
    "top2": (-2, -1),
    "first_token": _LAST,
    "cls_pooler": _LAST,
    "mean_all": _LAST,
    "lasttoken": _LAST,
    "weightedmean": _LAST,
    "mean_sqrt_len_tokens": _LAST,
}

POOLINGS: tuple[str, ...] = tuple(_LAYERS)


def check_pooling(pooling: str) -> str:
    """Return `pooling` if every part of it (joined by "+") is known.

    Raises:
        UserError: If a part is not one of `POOLINGS`.
    """
    for part in pooling.split("+"):
        if part not in POOLINGS:
            raise UserError(f"unknown pooling {part!r}: choose one of {', '.join(POOLINGS)}")
    return pooling


def layers_of(pooling: str) -> tuple[int, ...]:
    """Indices of the hidden states that `pooling` reads, of (embedding output, layer 1, …, last)."""
    return tuple(dict.fromkeys(i for part in pooling.split("+") for i in _LAYERS[part]))


@dataclass(frozen=True)
class Segments:
    """Places of the states that one pooling reads of the rows of a batch; made on the CPU.

    Args:
        starts: For one token of each row, its place, where the row has tokens; else where the row starts in `places`.
        places: Places of the states that are summed, row after row; None for one token of each row.
        weights: How much each of them counts; None for the largest one.
        filled: Rows that have tokens, for one token of each; None where all have.
        rows: How many rows, B.
    """

    starts: Int[Tensor, " R"]
    places: Int[Tensor, " T"] | None
    weights: Float[Tensor, " T"] | None
    filled: Int[Tensor, " R"] | None
    rows: int

    @classmethod
    def of(
        cls,
        lengths: Int[Tensor, " B"],
        pooling: str,
        back: Int[Tensor, " T"] | None = None,
        dtype: torch.dtype = torch.float32,
        left_out: Int[Tensor, " B"] | None = None,
    ) -> tuple[Segments, ...]:
        """The segments of each part of a pooling.

        Args:
            lengths: Tokens of each row; 0 is allowed.
            pooling: As of `pool`.
            back: Place of each token among the hidden states; its own when None.
            dtype: Of the weights.
            left_out: As of `pool`.

        Raises:
            UserError: If the pooling is unknown or "mean_all".
        """
        given = lengths.numpy()
        places = np.arange(int(given.sum())) if back is None else back.numpy()
        first = np.zeros_like(given)
        if left_out is not None:
            first = np.minimum(left_out.numpy(), given)
            starts = given.cumsum() - given
            places = places[ranges(starts + first, given - first)]
        parts = check_pooling(pooling).split("+")
        return tuple(_segments(given - first, p, places, dtype, first) for p in parts)


def pool(
    hidden: Mapping[int, Float[Tensor, "P _"]],
    lengths: Int[Tensor, " B"],
    pooling: str,
    segments: Sequence[Segments] = (),
    left_out: Int[Tensor, " B"] | None = None,
) -> Float[Tensor, "B _"]:
    """One vector per packed row.

    Args:
        hidden: Hidden states by layer, at least those of `layers_of(pooling)`.
        lengths: Tokens of each row; 0 is allowed. On the CPU.
        pooling: One of `POOLINGS`, or several joined by "+" whose vectors are concatenated. "cls_pooler" gives what
            the pretrained pooler takes, the first token; "mean_all" needs padding, see `pool_all_positions`.
        segments: What `Segments.of` gives, on the device of the states; made here when empty.
        left_out: Tokens at the beginning of each row that it does not see; a row with no more gives the zero vector.

    Returns:
        Vectors in float32 or wider.

    Raises:
        UserError: If the pooling is unknown or "mean_all".

    Source: Gao et al. 2021, https://arxiv.org/abs/2104.08821; Liu et al. 2021, https://arxiv.org/abs/2104.08027
    """
    parts = check_pooling(pooling).split("+")
    states = [_average(hidden, _LAYERS[part]) for part in parts]
    if not segments:
        made = Segments.of(lengths, pooling, dtype=states[0].dtype, left_out=left_out)
        segments = to_device(made, states[0].device)
    return torch.cat([_pool(*pair) for pair in zip(states, segments, strict=True)], dim=-1)


def pool_all_positions(
    hidden: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"]
) -> Float[Tensor, "B D"]:
    """Mean over all positions, padding included; zeros for a row without tokens.

    Source: the `mean` of Mirror-BERT's code (Liu et al. 2021), whose value depends on the padded length.
    """
    return _widen(hidden).mean(1) * mask.any(1, keepdim=True)


def _average(hidden: Mapping[int, Tensor], layers: Sequence[int]) -> Tensor:
    states = [_widen(hidden[layer]) for layer in layers]
    return states[0] if len(states) == 1 else torch.stack(states).mean(0)


def _widen(hidden: Tensor) -> Tensor:
    return hidden if hidden.dtype == torch.float64 else hidden.float()


def _segments(
    lengths: np.ndarray, pooling: str, places: np.ndarray, dtype: torch.dtype, first: np.ndarray
) -> Segments:
    starts = lengths.cumsum() - lengths
    if pooling == "mean_all":
        raise UserError(
            "pooling 'mean_all' averages over padding too, which a packed batch does not have: use pool_all_positions"
        )
    if pooling in _ONE_TOKEN:
        filled = np.flatnonzero(lengths > 0)
        token = (starts + _ONE_TOKEN[pooling](lengths))[filled]
        some = None if len(filled) == len(lengths) else torch.from_numpy(filled)
        return Segments(torch.from_numpy(places[token]), None, None, some, len(lengths))
    weights = None
    if pooling != "max":
        weights = torch.from_numpy(_weights(lengths, starts, pooling, first)).to(dtype)
    return Segments(torch.from_numpy(starts), torch.from_numpy(places), weights, None, len(lengths))


# Which token of a row: a row of one token has no second one.
_ONE_TOKEN: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "cls": np.zeros_like,
    "cls_pooler": np.zeros_like,
    "lasttoken": lambda lengths: lengths - 1,
    "first_token": lambda lengths: np.minimum(lengths - 1, 1),
}


def _weights(
    lengths: np.ndarray, starts: np.ndarray, pooling: str, first: np.ndarray
) -> np.ndarray:
    """Weight of each token in its row's sum."""
    length = lengths.astype(np.float64)
    if pooling == "weightedmean":  # token at position t counts t + 1
        places = np.arange(int(lengths.sum())) + np.repeat(first - starts, lengths)
        return (places + 1) / np.repeat(length * (length + 1) / 2 + length * first, lengths)
    scale = np.sqrt(length) if pooling == "mean_sqrt_len_tokens" else length
    return 1 / np.repeat(scale, lengths)


def _pool(hidden: Float[Tensor, "P D"], segments: Segments) -> Float[Tensor, "B D"]:
    if segments.places is None:
        return _take(hidden, segments)
    # The fastest segment sum that torch has on the CPU, forward and backward, and empty rows give zeros.
    if not len(hidden):
        return hidden.new_zeros(segments.rows, hidden.shape[1]) + 0 * hidden.sum()
    weights = segments.weights
    return F.embedding_bag(
        segments.places,
        hidden,
        segments.starts,
        mode="max" if weights is None else "sum",
        per_sample_weights=None if weights is None else weights.to(hidden.dtype),
    )


def _take(hidden: Float[Tensor, "P D"], segments: Segments) -> Float[Tensor, "B D"]:
    """One token of each row, zeros for rows without tokens."""
    taken = hidden.index_select(0, segments.starts)
    if segments.filled is None:
        return taken
    return taken.new_zeros(segments.rows, hidden.shape[1]).index_copy(0, segments.filled, taken)
