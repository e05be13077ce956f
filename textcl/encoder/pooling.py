"""From hidden states of tokens to one vector per row.

Rows come packed: hidden states (T, D) of all rows one after another, and the length of each row. A
row without tokens gives the zero vector. Sums are taken in float32 or wider.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

from textcl.errors import UserError

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
    """Which hidden states `pooling` reads, as indices into (embedding output, layer 1, …, last)."""
    return tuple(dict.fromkeys(i for part in pooling.split("+") for i in _LAYERS[part]))


def pool(
    hidden: Mapping[int, Float[Tensor, "T _"]], lengths: Int[Tensor, " B"], pooling: str
) -> Float[Tensor, "B _"]:
    """One vector per packed row.

    Args:
        hidden: Hidden states by layer, at least those of `layers_of(pooling)`.
        lengths: Tokens of each row; 0 is allowed. On the CPU.
        pooling: One of `POOLINGS`, or several joined by "+" whose vectors are concatenated. "cls_pooler" gives what
            the pretrained pooler takes, the first token; "mean_all" needs padding, see `pool_padded`.

    Returns:
        Vectors in float32 or wider.

    Raises:
        UserError: If the pooling is unknown or "mean_all".

    Source: Gao et al. 2021, https://arxiv.org/abs/2104.08821; Liu et al. 2021, https://arxiv.org/abs/2104.08027
    """
    parts = check_pooling(pooling).split("+")
    return torch.cat([_pool(_average(hidden, _LAYERS[p]), lengths, p) for p in parts], dim=-1)


def pool_padded(
    hidden: Float[Tensor, "layers B L D"], mask: Shaped[Tensor, "B L"], pooling: str
) -> Float[Tensor, "B _"]:
    """One vector per padded row.

    Args:
        hidden: Hidden states of every layer, the embedding output first.
        mask: 1 (or True) on real tokens.
        pooling: As in `pool`; also "mean_all", the mean over all positions, padding included.

    Returns:
        Vectors in float32 or wider; zeros for a row whose mask is all zero.
    """
    real = mask.to(torch.bool)
    if pooling == "mean_all":
        return pool_all_positions(hidden[-1], real)
    packed = {layer: hidden[layer][real] for layer in layers_of(check_pooling(pooling))}
    return pool(packed, real.sum(1).cpu(), pooling)


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


def _pool(
    hidden: Float[Tensor, "T D"], lengths: Int[Tensor, " B"], pooling: str
) -> Float[Tensor, "B D"]:
    starts = lengths.cumsum(0) - lengths
    if pooling in {"cls", "cls_pooler"}:
        return _take(hidden, starts, lengths)
    if pooling == "lasttoken":
        return _take(hidden, starts + lengths - 1, lengths)
    if pooling == "first_token":  # a row of one token has no second one
        return _take(hidden, starts + (lengths - 1).clamp(max=1), lengths)
    if pooling == "max":
        return _reduce(hidden, starts, "max", None)
    if pooling == "mean_all":
        raise UserError(
            "pooling 'mean_all' averages over padding too, which a packed batch does not have: use pool_padded"
        )
    weights = _weights(lengths, starts, pooling).to(hidden, non_blocking=True)
    return _reduce(hidden, starts, "sum", weights)


def _weights(
    lengths: Int[Tensor, " B"], starts: Int[Tensor, " B"], pooling: str
) -> Float[Tensor, " T"]:
    """How much each token counts in its row's sum."""
    length = lengths.double()
    if pooling == "weightedmean":  # token at position t counts t + 1
        places = torch.arange(int(lengths.sum())) - starts.repeat_interleave(lengths)
        return (places + 1) / (length * (length + 1) / 2).repeat_interleave(lengths)
    scale = length.sqrt() if pooling == "mean_sqrt_len_tokens" else length
    return (1 / scale).repeat_interleave(lengths)


def _reduce(
    hidden: Float[Tensor, "T D"],
    starts: Int[Tensor, " B"],
    mode: str,
    weights: Float[Tensor, " T"] | None,
) -> Float[Tensor, "B D"]:
    # The fastest segment sum that torch has on the CPU, forward and backward, and empty rows give zeros.
    if not len(hidden):
        return hidden.new_zeros(len(starts), hidden.shape[1]) + 0 * hidden.sum()
    everything = torch.arange(len(hidden), device=hidden.device)
    return F.embedding_bag(
        everything,
        hidden,
        starts.to(hidden.device, non_blocking=True),
        mode=mode,
        per_sample_weights=weights,
    )


def _take(
    hidden: Float[Tensor, "T D"], places: Int[Tensor, " B"], lengths: Int[Tensor, " B"]
) -> Float[Tensor, "B D"]:
    """The token at `places` of each row, zeros for rows without tokens."""
    filled = (lengths > 0).nonzero().squeeze(1)
    filled, places = (x.to(hidden.device, non_blocking=True) for x in (filled, places[filled]))
    taken = hidden.index_select(0, places)
    if len(filled) == len(lengths):
        return taken
    return taken.new_zeros(len(lengths), hidden.shape[1]).index_copy(0, filled, taken)
