"""How rows without padding travel through an unmodified HuggingFace model.

All tokens of a batch make one row of T tokens, so that linear layers, norms and activations see real tokens only;
attention, which must stay inside each row, is replaced. Architectures that do not let it be are run with padding, in
groups of similar length; the callers cannot tell the difference.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from inspect import signature
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from transformers import PreTrainedModel

from textcl.encoder.packing.attention import NAME
from textcl.encoder.packing.layout import Layout, Packed, padding_id
from textcl.errors import UserError
from textcl.transfer import to_device
from textcl.types import Changes, Tokens

# Models whose attention goes through transformers' interface and sees nothing but q, k, v and a window.
_ENCODERS = frozenset(
    {"albert", "bert", "camembert", "distilbert", "electra", "modernbert", "roberta", "xlm-roberta"}
)
DECODERS = frozenset({"gemma3_text", "llama", "mistral", "modernbert-decoder", "qwen2", "qwen3"})
"""Causal models that run without padding, and to both sides where their configuration says is_causal=false."""

# Padded groups end where a row would be this much longer than the first one, unless they are this small.
_STRETCH, _SMALL = 1.25, 16


def is_packed(backbone: PreTrainedModel) -> bool:
    """Whether this model runs without padding."""
    config = backbone.config
    return (
        config.model_type in _ENCODERS | DECODERS
        and bool(getattr(backbone, "_supports_attention_backend", False))
        and not getattr(config, "is_decoder", False)
    )


def layout_of(backbone: PreTrainedModel, tokens: Tokens) -> Layout:
    """Where tokens, at least one, lie while this model runs them."""
    return Layout.of(backbone, tokens, packed=is_packed(backbone))


def hidden_states(
    backbone: PreTrainedModel,
    tokens: Tokens,
    layers: Sequence[int] = (-1,),
    layout: Layout | None = None,
) -> dict[int, Float[Tensor, "T D"]]:
    """Hidden states of every token, in the order of `tokens`.

    Args:
        backbone: A text encoder of HuggingFace.
        tokens: Rows of token ids on the device of the model; rows without tokens are allowed.
        layers: Which states: 0 is the embedding output, -1 the last layer.
        layout: Where they lie, on the device of the model; made here when None.

    Returns:
        Packed hidden states by the given layer numbers.
    """
    if not len(tokens.ids):
        return no_states(backbone, layers)
    layout = layout or to_device(layout_of(backbone, tokens), tokens.ids.device)
    states = placed_states(backbone, tokens, layers, layout)
    if layout.back is not None:
        return {layer: state.index_select(0, layout.back) for layer, state in states.items()}
    return {layer: state[: len(tokens.ids)] for layer, state in states.items()}


def no_states(backbone: PreTrainedModel, layers: Sequence[int]) -> dict[int, Float[Tensor, "0 D"]]:
    """Hidden states of no token."""
    empty = next(backbone.parameters()).new_zeros(0, backbone.config.hidden_size)
    return dict.fromkeys(layers, empty)


def placed_states(
    backbone: PreTrainedModel, tokens: Tokens, layers: Sequence[int], layout: Layout
) -> dict[int, Float[Tensor, "P D"]]:
    """Hidden states by place, as they leave the model: those of token t are at `layout.back[t]`.

    Arguments as of `hidden_states`; there must be a token.
    """
    if layout.packed is None:
        whole = layout.in_order and len(layout.order) == len(tokens)
        rows = tokens if whole else tokens.take(layout.order)
        if getattr(backbone.config, "num_hidden_layers", None) == 0:  # a table of tokens
            return dict.fromkeys(layers, _looked_up(backbone, rows))
        return _run_bucketed(backbone, rows, layers)
    ids = tokens.ids if layout.places is None else tokens.ids.index_select(0, layout.places)
    return _run_packed(backbone, ids, layout.packed, tokens.changes, layers)


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
    changes, keep = tokens.changes or Changes(), _kept_embeddings(tokens)
    real = tokens.padded_places(ids.shape[1])
    seen = mask if changes.attend is None else _spread(changes.attend, real, mask.shape)
    inputs = {"input_ids": ids, "attention_mask": _attended(backbone, seen)}
    inputs |= _without_cache(type(backbone))
    if changes.positions is not None:
        _check_positions(backbone)
        padding = padding_id(backbone)
        positions = changes.positions + (0 if padding is None else padding + 1)
        inputs["position_ids"] = _spread(positions, real, mask.shape)
    with _embedded(backbone, None if keep is None else _spread(keep, real, mask.shape)):
        output = backbone(**inputs, output_hidden_states=_needs_all(layers))
    return _select(output, layers), mask


def _looked_up(backbone: PreTrainedModel, tokens: Tokens) -> Float[Tensor, "T D"]:
    """The embeddings of the tokens, without what the views cut out of them."""
    states: Tensor = backbone.get_input_embeddings()(tokens.ids)
    keep = _kept_embeddings(tokens)
    return states if keep is None else states.masked_fill(~keep, 0.0)


def _attended(backbone: PreTrainedModel, seen: Bool[Tensor, "B L"]) -> Shaped[Tensor, "B ..."]:
    """The mask as the model takes it.

    Of a mask of two dimensions transformers asks whether all of it is true, for which the host waits for a card: where
    each query attends to all tokens of its row, it gets one of four dimensions there.
    """
    encoder = is_packed(backbone) and backbone.config.model_type in _ENCODERS
    whole = encoder and getattr(backbone.config, "sliding_window", None) is None
    return seen[:, None, None] if whole and seen.device.type != "cpu" else seen.long()


@lru_cache
def _without_cache(kind: type[PreTrainedModel]) -> dict[str, Any]:
    """The argument that keeps a decoder from storing the keys and values of all layers for a next token."""
    return {"use_cache": False} if "use_cache" in signature(kind.forward).parameters else {}


def _spread(
    values: Shaped[Tensor, "T ..."], real: Int[Tensor, " T"], shape: torch.Size
) -> Shaped[Tensor, "B L ..."]:
    """Values of the real tokens where they are in the padded batch, zeros elsewhere."""
    padded = values.new_zeros(shape.numel(), *values.shape[1:]).index_copy_(0, real, values)
    return padded.view(*shape, *values.shape[1:])


def _kept_embeddings(tokens: Tokens) -> Bool[Tensor, "T _"] | None:
    """False for what the views cut out of each token's embedding output."""
    changes = tokens.changes or Changes()
    keep = None if changes.embed is None else changes.embed[:, None]
    if changes.features is None:
        return keep
    lengths = tokens.lengths.to(tokens.ids.device, non_blocking=True)
    features = changes.features.repeat_interleave(lengths, 0, output_size=len(tokens.ids))
    return features if keep is None else features & keep


@contextmanager
def _embedded(backbone: PreTrainedModel, keep: Bool[Tensor, "B L _"] | None) -> Generator[None]:
    """Within it the embedding output, normalised and dropped out, becomes 0 where `keep` is False.

    Under autocast on a CPU it is also handed on in the lower precision, and with it all hidden states: a training step
    is 3 to 4 % faster than with float32 states, which every linear layer has to convert.
    """
    low = torch.get_autocast_dtype("cpu") if _autocast_on_cpu(backbone) else None
    if keep is None and low is None:
        yield
        return

    def change(module: torch.nn.Module, args: object, output: Tensor) -> Tensor:
        kept = output if keep is None else output.masked_fill(~keep, 0.0)
        return kept if low is None else kept.to(low)

    handle = _embeddings(backbone).register_forward_hook(change)
    try:
        yield
    finally:
        handle.remove()


def _embeddings(backbone: PreTrainedModel) -> torch.nn.Module:
    """The module whose output goes into the first layer."""
    inner = getattr(
        getattr(backbone, "encoder", None), "embed_tokens", None
    )  # of T5, tied to the outer one
    return getattr(backbone, "embeddings", None) or inner or backbone.get_input_embeddings()


def _check_positions(backbone: PreTrainedModel) -> None:
    if "position_ids" not in signature(backbone.forward).parameters:
        raise UserError(
            f"{backbone.config.model_type} models take no positions of tokens, which a view moves: use another view"
        )


def _autocast_on_cpu(backbone: PreTrainedModel) -> bool:
    return backbone.device.type == "cpu" and torch.is_autocast_enabled("cpu")


def _run_packed(
    backbone: PreTrainedModel,
    ids: Int[Tensor, " P"],
    packed: Packed,
    changes: Changes | None,
    layers: Sequence[int],
) -> dict[int, Tensor]:
    if backbone.config._attn_implementation != NAME:  # pyright: ignore[reportPrivateUsage]
        backbone.set_attn_implementation(NAME)
    keep = None if packed.keep is None else packed.keep[:, None]
    if packed.rows is not None and changes is not None and changes.features is not None:
        features = changes.features.index_select(0, packed.rows)
        keep = features if keep is None else features & keep
    inputs = {"input_ids": ids[None], "position_ids": packed.positions[None]}
    if hasattr(getattr(backbone, "embeddings", None), "token_type_embeddings"):
        inputs["token_type_ids"] = torch.zeros_like(inputs["input_ids"])
    with _embedded(backbone, None if keep is None else keep[None]):
        output = backbone(
            **inputs,
            **_without_cache(type(backbone)),
            # A mask of four dimensions is handed on as it is, so that no model builds one of T x T.
            attention_mask=ids.new_ones(1, 1, 1, 1, dtype=torch.bool),
            output_hidden_states=_needs_all(layers),
            packing=packed.packing,
        )
    return {layer: state[0] for layer, state in _select(output, layers).items()}


def _run_bucketed(
    backbone: PreTrainedModel, tokens: Tokens, layers: Sequence[int]
) -> dict[int, Tensor]:
    _tell_padded(backbone.config.model_type)
    parts: list[dict[int, Tensor]] = []
    for start, stop in _buckets(tokens.lengths.tolist()):
        rows = tokens.rows(start, stop)
        states, mask = padded_hidden_states(backbone, rows, layers)
        real = rows.padded_places(mask.shape[1])
        parts.append({n: x.flatten(0, 1).index_select(0, real) for n, x in states.items()})
    return {layer: torch.cat([part[layer] for part in parts]) for layer in layers}


def _buckets(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of ascending lengths that waste little on padding."""
    cuts = [0]
    for row, length in enumerate(lengths):
        if row - cuts[-1] >= _SMALL and length > _STRETCH * lengths[cuts[-1]]:
            cuts.append(row)
    return list(zip(cuts, [*cuts[1:], len(lengths)], strict=True))


@lru_cache
def _tell_padded(model_type: str) -> None:
    logging.getLogger("textcl").warning(
        "%s models run with padding: their attention cannot be replaced, so short rows cost more",
        model_type,
    )


def _needs_all(layers: Sequence[int]) -> bool:
    return tuple(layers) != (-1,)


def _select(output: Any, layers: Sequence[int]) -> dict[int, Tensor]:
    if not _needs_all(layers):
        return {-1: output.last_hidden_state}
    return {layer: output.hidden_states[layer] for layer in layers}
