"""Calls of a backbone of transformers: what it supports, its arguments, and the hidden states of its output."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from inspect import signature
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor
from transformers import PreTrainedModel

from textcl.types import Changes, Tokens

ENCODERS = frozenset(
    {"albert", "bert", "camembert", "distilbert", "electra", "modernbert", "roberta", "xlm-roberta"}
)
"""Models whose attention goes through transformers' interface and sees nothing but q, k, v and a window."""

DECODERS = frozenset({"gemma3_text", "llama", "mistral", "modernbert-decoder", "qwen2", "qwen3"})
"""Causal models that run without padding, and to both sides where their configuration says is_causal=false."""


def is_packed(backbone: PreTrainedModel) -> bool:
    """Whether this model runs without padding."""
    config = backbone.config
    return (
        config.model_type in ENCODERS | DECODERS
        and bool(getattr(backbone, "_supports_attention_backend", False))
        and not getattr(config, "is_decoder", False)
    )


@lru_cache
def without_cache(kind: type[PreTrainedModel]) -> dict[str, Any]:
    """The argument that keeps a decoder from storing the keys and values of all layers for a next token."""
    return {"use_cache": False} if "use_cache" in signature(kind.forward).parameters else {}


def kept_embeddings(tokens: Tokens) -> Bool[Tensor, "T _"] | None:
    """False for what the views cut out of each token's embedding output."""
    changes = tokens.changes or Changes()
    keep = None if changes.embed is None else changes.embed[:, None]
    if changes.features is None:
        return keep
    lengths = tokens.lengths.to(tokens.ids.device, non_blocking=True)
    features = changes.features.repeat_interleave(lengths, 0, output_size=len(tokens.ids))
    return features if keep is None else features & keep


@contextmanager
def embedding_output(
    backbone: PreTrainedModel, keep: Bool[Tensor, "B L _"] | None
) -> Generator[None]:
    """A context in which the embedding output, normalised and dropped out, is 0 where `keep` is False.

    Under autocast on a CPU it is also passed on in the lower precision, and with it all hidden states: a training step
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
    # of T5, tied to the outer one
    inner = getattr(getattr(backbone, "encoder", None), "embed_tokens", None)
    return getattr(backbone, "embeddings", None) or inner or backbone.get_input_embeddings()


def _autocast_on_cpu(backbone: PreTrainedModel) -> bool:
    return backbone.device.type == "cpu" and torch.is_autocast_enabled("cpu")


def needs_all(layers: Sequence[int]) -> bool:
    """Whether more than the last layer is asked for, for which the model has to return the states of all."""
    return tuple(layers) != (-1,)


def select_layers(output: Any, layers: Sequence[int]) -> dict[int, Tensor]:
    """The states of these layers in the output of a call."""
    if not needs_all(layers):
        return {-1: output.last_hidden_state}
    return {layer: output.hidden_states[layer] for layer in layers}
