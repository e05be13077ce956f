"""The whole encoder as one function of padded token ids, in a form that exporters can trace.

Pooling, the layers behind it and the scaling to length 1 are part of it. Poolings are written as weighted sums over
positions, because a graph of another library knows no packed rows.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from textcl.encoder.encoder import Encoder
from textcl.encoder.pooling import layers_of
from textcl.errors import UserError
from textcl.export.pooling import pooled


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
            parts.append(pooled(hidden.float(), attention_mask, pooling))
        vectors = torch.cat(parts, dim=-1)
        if self.pooling == "cls_pooler":
            vectors = cast(nn.Module, self.backbone.pooler)(vectors[:, None])
        vectors = self.dense(vectors)
        vectors = F.normalize(vectors, dim=-1) if self.unit else vectors
        return vectors, output.last_hidden_state
