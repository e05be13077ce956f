"""The whole encoder as one function of padded token ids, in a form that exporters can trace.

Pooling, the layers behind it and the scaling to length 1 are part of it. Poolings are written as weighted sums over
positions, because a graph of another library knows no packed rows.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from textcl.encoder.encoder import Encoder
from textcl.encoder.packing.calling import is_packed
from textcl.encoder.pooling import layers_of
from textcl.errors import UserError

_NAME = "textcl_export"


class EncoderGraph(nn.Module):
    """Token ids (B, L) and mask (B, L), 1 on real tokens, to vectors (B, D) and states of tokens (B, L, H), float32.

    A row without tokens gives what a zero does, as in `Encoder`. Used in eval mode. The states are those of the
    last layer, for loaders that pool for themselves.

    Args:
        encoder: Whose weights are used, not copied.

    Raises:
        UserError: If the pooling depends on the padding.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        if encoder.pooling == "mean_all":
            raise UserError(
                "pooling 'mean_all' averages over padding and cannot be exported: expected another pooling"
            )
        if not encoder.include_prompt:
            raise UserError(
                "the model leaves its prompts out of the pooling (include_prompt), which a graph cannot: use "
                "--backend torch"
            )
        self.backbone = encoder.backbone
        self.dense = encoder.dense
        self.pooling, self.unit = encoder.pooling, encoder.normalize
        self.every_layer = layers_of(self.pooling) != (-1,)

    # Shapes stay unchecked here: while a graph is traced they are not numbers.
    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of padded rows, and the states of their tokens; in the order of `OUTPUTS`."""
        # A row without tokens attends to everything, because a softmax over nothing is nan; pooling still sees nothing.
        seen = torch.maximum(attention_mask, 1 - attention_mask.amax(1, keepdim=True))
        output = self.backbone(
            input_ids=input_ids, attention_mask=seen, output_hidden_states=self.every_layer
        )
        states = output.hidden_states if self.every_layer else None
        parts: list[Tensor] = []
        for pooling in self.pooling.split("+"):
            layers = layers_of(pooling)
            if states is None:
                hidden = output.last_hidden_state
            else:
                hidden = torch.stack([states[layer] for layer in layers]).mean(0)
            parts.append(_pool(hidden.float(), attention_mask, pooling))
        vectors = torch.cat(parts, dim=-1)
        if self.pooling == "cls_pooler":
            vectors = cast(nn.Module, self.backbone.pooler)(vectors[:, None])
        vectors = self.dense(vectors)
        vectors = F.normalize(vectors, dim=-1) if self.unit else vectors
        return vectors, output.last_hidden_state


@contextmanager
def exportable(encoder: Encoder) -> Generator[EncoderGraph]:
    """The graph of an encoder, in eval mode and with an attention that exporters know; undone at the end."""
    graph, training = EncoderGraph(encoder), encoder.training
    attention = encoder.backbone.config._attn_implementation  # pyright: ignore[reportPrivateUsage]
    encoder.eval()
    graph.eval()
    if is_packed(encoder.backbone):
        encoder.backbone.set_attn_implementation(_NAME)
    try:
        yield graph
    finally:
        if is_packed(encoder.backbone) and attention is not None:
            encoder.backbone.set_attn_implementation(attention)
        encoder.train(training)


def _mask(*args: Any, **kwargs: Any) -> Tensor | None:
    """The mask of transformers, but every query attends to itself.

    Padding outside the window of all tokens would attend to nothing, which is nan in graphs of other libraries and
    spreads from there.
    """
    mask = sdpa_mask(*args, **kwargs)
    if mask is None:
        return None
    place = torch.arange(mask.shape[-1], device=mask.device)
    return mask | (place[:, None] == place)


AttentionInterface.register(_NAME, sdpa_attention_forward)


AttentionMaskInterface.register(_NAME, _mask)


def _pool(hidden: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """(B, L, D) to (B, D); zeros for a row whose mask is all zero."""
    if pooling == "max":
        lowest = hidden.masked_fill(mask[..., None] == 0, torch.finfo(hidden.dtype).min)
        return lowest.amax(1) * mask.amax(1, keepdim=True)
    # No matrix product: quantisers would cut the weights at the largest that they saw, those of short rows.
    return (_weights(mask, pooling).to(hidden)[..., None] * hidden).sum(1)


def _weights(mask: Tensor, pooling: str) -> Tensor:
    """The weight of each position, (B, L)."""
    real, place = mask.float(), mask.cumsum(1)  # the first real token has place 1
    length = real.sum(1, keepdim=True)
    if pooling in {"cls", "cls_pooler"}:
        return real * (place == 1)
    if pooling == "lasttoken":
        return real * (place == length)
    if pooling == "first_token":  # a row of one token has no second one
        return real * (place == length.clamp(max=2))
    if pooling == "weightedmean":
        return real * place / (length * (length + 1) / 2).clamp(min=1)
    scale = length.sqrt() if pooling == "mean_sqrt_len_tokens" else length
    return real / scale.clamp(min=1)
