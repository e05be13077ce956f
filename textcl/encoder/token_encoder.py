"""Rows of tokens to vectors: a backbone, its pooling and the layers behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from textcl.encoder.backbone import checkpoint_activations
from textcl.encoder.dense import tanh_layer
from textcl.encoder.packing.dropout import use_fast_dropout
from textcl.encoder.packing.hidden_states import (
    is_packed,
    layout_of,
    no_states,
    placed_states,
)
from textcl.encoder.packing.layout import Layout
from textcl.encoder.packing.lookup import use_kept_gradients
from textcl.encoder.packing.padded import padded_hidden_states
from textcl.encoder.packing.sizes import filled_up, with_filling
from textcl.encoder.pooling import (
    Segments,
    check_pooling,
    layers_of,
    pool,
    pool_all_positions,
)
from textcl.encoder.static import is_static
from textcl.errors import UserError
from textcl.types import Tokens


@dataclass(frozen=True, kw_only=True)
class PlannedTokens(Tokens):
    """Tokens with what an encoder computes from their lengths alone; it moves to the device with them.

    Args:
        layout: Where the tokens lie while the backbone runs them.
        segments: Which states each part of the pooling reads.
        filling: Rows at the end whose vectors are thrown away.
    """

    layout: Layout
    segments: tuple[Segments, ...]
    filling: int = 0


class TokenEncoder(nn.Module):
    """Rows of tokens to one vector each.

    Args:
        backbone: HuggingFace text encoder.
        pooling: One of `POOLINGS`, or several joined by "+".
        max_length: Most tokens of a row.
        dense: Layers behind the pooling that belong to the model.
    """

    def __init__(
        self,
        backbone: PreTrainedModel,
        *,
        pooling: str,
        max_length: int,
        dense: Sequence[nn.Sequential] = (),
    ) -> None:
        super().__init__()
        if is_static(backbone) and pooling != "mean":
            raise UserError(
                f"a static model is the mean of token vectors and has no other pooling, such as {pooling!r}"
            )
        use_fast_dropout(backbone)
        use_kept_gradients(backbone)
        self.backbone = backbone
        self.dense = nn.Sequential(*dense)
        self.projector: nn.Sequential | None = None
        self.has_fresh_layer = False
        self.pooling = check_pooling(pooling)
        self.max_length = max_length

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        if self.dense:
            return int(self.dense[-1][0].out_features)  # pyright: ignore[reportArgumentType, reportIndexIssue]
        return int(self.backbone.config.hidden_size) * len(self.pooling.split("+"))

    @property
    def averages_padding(self) -> bool:
        """Whether vectors depend on `max_length`, to which every row is padded."""
        return self.pooling == "mean_all"

    @property
    def embedding_width(self) -> int:
        """Columns of the embeddings in front of the first layer."""
        table = cast(nn.Embedding, self.backbone.get_input_embeddings())
        return int(table.weight.shape[1])

    def add_projector(self, *, keep: bool) -> None:
        """Put a fresh layer with tanh behind everything else, as SimCSE does.

        Args:
            keep: Whether the layer belongs to the model, as the last one of `dense`. Otherwise it is `projector`:
                `forward` goes through it, so that losses see its output; `encode` and saved folders leave it out.

        Raises:
            UserError: If there is a projector already.

        Source: Gao et al. 2021, https://arxiv.org/abs/2104.08821
        """
        if self.projector is not None:
            raise UserError("the encoder has a projector already")
        std = getattr(self.backbone.config, "initializer_range", 0.02)
        layer = tanh_layer(self.dimension, std, self.device)
        if keep:
            self.dense.append(layer)
            self.has_fresh_layer = True
        else:
            self.projector = layer

    add_head = add_projector  # by its earlier name, which recipe files of users' own may call

    def forward(self, tokens: Tokens) -> Float[Tensor, "B _"]:
        """One vector per row, in float32 or wider and never normalised; a row without tokens gives what a zero does.

        Rows do not see each other, so any chunk of a batch gives the same vectors. A `projector` is part of the way.
        """
        vectors = self.embed(tokens)
        if self.projector is None:
            return vectors
        with torch.autocast(self.device.type, enabled=False):
            return self.projector(vectors)

    def embed(self, tokens: Tokens) -> Float[Tensor, "B _"]:
        """Vectors as of `forward`, but without the projector."""
        tokens = self.plan(tokens).to(self.device)
        pooled = (
            self._pooled_with_padding(tokens) if self.averages_padding else self._pooled(tokens)
        )
        with torch.autocast(self.device.type, enabled=False):
            return self.dense(pooled)

    def embed_filled(self, tokens: Tokens, usual: int) -> Float[Tensor, "B _"]:
        """Vectors as of `embed`; a CPU that runs rows without padding computes them in batches of few sizes.

        Args:
            tokens: On the CPU.
            usual: Tokens of most batches.
        """
        packed = is_packed(self.backbone) and not self.averages_padding
        if not packed or self.device.type != "cpu" or not len(tokens.ids):
            return self.embed(tokens)
        return self.embed(filled_up(tokens, usual))[: len(tokens)]

    def plan(self, tokens: Tokens, *, rounded: bool = False) -> Tokens:
        """The tokens with all that follows from their lengths, which may be made ahead of `forward`, in any thread.

        Args:
            tokens: On the CPU.
            rounded: Whether batches of a packed model on a card come in few different sizes.
        """
        if isinstance(tokens, PlannedTokens) or self.averages_padding or not len(tokens.ids):
            return tokens
        rounded, filling = rounded and is_packed(self.backbone) and self.device.type != "cpu", 0
        if rounded:
            tokens, filling = with_filling(tokens, self.max_length)
        layout = layout_of(self.backbone, tokens)
        wide = torch.promote_types(self.backbone.dtype, torch.float32)
        segments = Segments.of(tokens.lengths, self.pooling, layout.back, wide, tokens.prompt)
        return PlannedTokens(
            tokens.ids,
            torch.zeros_like(tokens.lengths) if rounded else tokens.lengths,
            tokens.changes,
            None if rounded else tokens.prompt,
            layout=layout.without_lengths() if rounded else layout,
            segments=segments,
            filling=filling,
        )

    def positions(self, tokens: Tokens) -> list[int]:
        """Positions that each row makes the backbone compute."""
        return [self.max_length] * len(tokens) if self.averages_padding else tokens.lengths.tolist()

    def gradient_checkpointing_enable(self) -> None:
        """Recompute the backbone's activations in the backward pass instead of keeping them."""
        checkpoint_activations(self.backbone)

    def _pooled(self, tokens: Tokens) -> Float[Tensor, "B _"]:
        layers, segments, filling = layers_of(self.pooling), tuple[Segments, ...](), 0
        if isinstance(tokens, PlannedTokens):
            hidden = placed_states(self.backbone, tokens, layers, tokens.layout)
            segments, filling = tokens.segments, tokens.filling
        else:
            hidden = no_states(self.backbone, layers)
        with torch.autocast(self.device.type, enabled=False):
            pooled = pool(hidden, tokens.lengths, self.pooling, segments, tokens.prompt)
            pooled = pooled[: len(tokens) - filling] if filling else pooled
            if self.pooling != "cls_pooler":
                return pooled
            pooler: nn.Module = self.backbone.pooler  # pyright: ignore[reportAssignmentType]
            first = pooled.to(next(pooler.parameters()).dtype)
            return pooler(first[:, None]).to(pooled.dtype)

    def _pooled_with_padding(self, tokens: Tokens) -> Float[Tensor, "B _"]:
        filled = (tokens.lengths > 0).nonzero().squeeze(1)
        vectors = torch.zeros(len(tokens), self.backbone.config.hidden_size, device=self.device)
        if not len(filled):
            return vectors
        hidden, mask = padded_hidden_states(
            self.backbone, tokens.take(filled), (-1,), self.max_length
        )
        pooled = pool_all_positions(hidden[-1], mask)
        return vectors.to(pooled).index_copy(0, filled.to(self.device, non_blocking=True), pooled)

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: object, **kwargs: object
    ) -> None:
        """Take a checkpoint from when the projector was called `head`, kept or not."""
        name = "projector" if self.projector is not None else f"dense.{len(self.dense) - 1}"
        for key in [key for key in state_dict if key.startswith(f"{prefix}head.")]:
            state_dict[f"{prefix}{name}.{key.removeprefix(f'{prefix}head.')}"] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
