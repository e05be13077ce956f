"""Rows with padding: batches of similar length, and their hidden states."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from inspect import signature

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from transformers import PreTrainedModel

from textcl.encoder.packing.calling import (
    ENCODERS,
    embedding_output,
    is_packed,
    kept_embeddings,
    needs_all,
    select_layers,
    without_cache,
)
from textcl.encoder.packing.packed import padding_id
from textcl.errors import UserError
from textcl.types import Changes, Tokens


def padded_hidden_states(
    backbone: PreTrainedModel, tokens: Tokens, layers: Sequence[int], width: int | None = None
) -> tuple[dict[int, Float[Tensor, "B L D"]], Bool[Tensor, "B L"]]:
    """Hidden states of rows padded on the right, and a mask that is True on real tokens.

    Args:
        backbone: A text encoder of HuggingFace.
        tokens: Rows of token ids on the device of the model, none empty.
        layers: As in `hidden_states`.
        width: Padded length; the longest row when None.
    """
    pad_id = getattr(backbone.config, "pad_token_id", None) or 0
    ids, mask = tokens.padded(pad_id, width)
    changes, keep = tokens.changes or Changes(), kept_embeddings(tokens)
    real = tokens.padded_places(ids.shape[1])
    seen = mask if changes.attend is None else _spread(changes.attend, real, mask.shape)
    inputs = {"input_ids": ids, "attention_mask": _attended(backbone, seen)}
    inputs |= without_cache(type(backbone))
    if changes.positions is not None:
        _check_positions(backbone)
        padding = padding_id(backbone)
        positions = changes.positions + (0 if padding is None else padding + 1)
        inputs["position_ids"] = _spread(positions, real, mask.shape)
    with embedding_output(backbone, None if keep is None else _spread(keep, real, mask.shape)):
        output = backbone(**inputs, output_hidden_states=needs_all(layers))
    return select_layers(output, layers), mask


def _attended(backbone: PreTrainedModel, seen: Bool[Tensor, "B L"]) -> Shaped[Tensor, "B ..."]:
    """The mask as the model takes it.

    Of a mask of two dimensions transformers asks whether all of it is true, for which the host waits for a card: where
    each query attends to all tokens of its row, it gets one of four dimensions there.
    """
    encoder = is_packed(backbone) and backbone.config.model_type in ENCODERS
    whole = encoder and getattr(backbone.config, "sliding_window", None) is None
    return seen[:, None, None] if whole and seen.device.type != "cpu" else seen.long()


def _spread(
    values: Shaped[Tensor, "T ..."], real: Int[Tensor, " T"], shape: torch.Size
) -> Shaped[Tensor, "B L ..."]:
    """Values of the real tokens where they are in the padded batch, zeros elsewhere."""
    padded = values.new_zeros(shape.numel(), *values.shape[1:]).index_copy_(0, real, values)
    return padded.view(*shape, *values.shape[1:])


def _check_positions(backbone: PreTrainedModel) -> None:
    if "position_ids" not in signature(backbone.forward).parameters:
        raise UserError(
            f"{backbone.config.model_type} models take no positions of tokens, which a view moves: use another view"
        )


def run_padded(
    backbone: PreTrainedModel, tokens: Tokens, layers: Sequence[int]
) -> dict[int, Float[Tensor, "T D"]]:
    """Hidden states of rows of ascending lengths, none empty; arguments as in `hidden_states`."""
    _warn_padded(backbone.config.model_type)
    parts: list[dict[int, Tensor]] = []
    for start, stop in padded_batches(tokens.lengths.tolist(), smallest=16):
        rows = tokens.rows(start, stop)
        states, mask = padded_hidden_states(backbone, rows, layers)
        real = rows.padded_places(mask.shape[1])
        parts.append({n: x.flatten(0, 1).index_select(0, real) for n, x in states.items()})
    return {layer: torch.cat([part[layer] for part in parts]) for layer in layers}


def padded_batches(
    lengths: Sequence[int], *, smallest: int, budget: float = math.inf
) -> Iterator[tuple[int, int]]:
    """Runs of rows of ascending lengths that waste little on padding: (first row, row behind the last).

    Args:
        lengths: Tokens of each row.
        smallest: Rows from which on a run ends where a row would be a quarter longer than its first one.
        budget: Most positions of a run, padding included; a row alone may exceed it.
    """
    start = 0
    for row, length in enumerate(lengths):
        rows = row - start
        stretched = rows >= smallest and length > 1.25 * lengths[start]
        if rows and (stretched or (rows + 1) * length > budget):
            yield start, row
            start = row
    if start < len(lengths):
        yield start, len(lengths)


@lru_cache
def _warn_padded(model_type: str) -> None:
    logging.getLogger("textcl").warning(
        "%s models run with padding: their attention cannot be replaced, so short rows cost more",
        model_type,
    )
