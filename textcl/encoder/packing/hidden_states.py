"""Hidden states of rows without padding, from an unmodified HuggingFace model.

All tokens of a batch make one row of T tokens, so that linear layers, norms and activations see real tokens only;
attention, which must stay inside each row, is replaced. Architectures that do not let it be are run with padding, in
groups of similar length; the callers cannot tell the difference.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from textcl.encoder.packing.attention import NAME
from textcl.encoder.packing.calling import (
    embedding_output,
    is_packed,
    kept_embeddings,
    needs_all,
    select_layers,
    without_cache,
)
from textcl.encoder.packing.layout import Layout
from textcl.encoder.packing.packed import Packed
from textcl.encoder.packing.padded import run_padded
from textcl.transfer import to_device
from textcl.types import Changes, Tokens


def layout_of(backbone: PreTrainedModel, tokens: Tokens) -> Layout:
    """Layout in which this model runs tokens, of which there is at least one."""
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
        return run_padded(backbone, rows, layers)
    ids = tokens.ids if layout.places is None else tokens.ids.index_select(0, layout.places)
    return _run_packed(backbone, ids, layout.packed, tokens.changes, layers)


def _looked_up(backbone: PreTrainedModel, tokens: Tokens) -> Float[Tensor, "T D"]:
    """The embeddings of the tokens, without what the views cut out of them."""
    states: Tensor = backbone.get_input_embeddings()(tokens.ids)
    keep = kept_embeddings(tokens)
    return states if keep is None else states.masked_fill(~keep, 0.0)


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
    with embedding_output(backbone, None if keep is None else keep[None]):
        output = backbone(
            **inputs,
            **without_cache(type(backbone)),
            # A mask of four dimensions is handed on as it is, so that no model builds one of T x T.
            attention_mask=ids.new_ones(1, 1, 1, 1, dtype=torch.bool),
            output_hidden_states=needs_all(layers),
            packing=packed.packing,
        )
    return {layer: state[0] for layer, state in select_layers(output, layers).items()}
