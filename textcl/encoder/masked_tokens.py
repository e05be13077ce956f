"""Masked language modelling beside a contrastive loss: what the masked tokens of each row cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from textcl.arithmetic import widen
from textcl.encoder.encoder import Encoder
from textcl.encoder.packing.hidden_states import hidden_states, layout_of
from textcl.encoder.packing.layout import Layout
from textcl.transfer import to_device
from textcl.types import NO_TARGET, Tokens


class MaskedTokenLoss(nn.Module):
    """Rows of masked tokens to (summed cross-entropy of their targets, number of those).

    A method lists it among its encoders, with a route from a view that `MaskTokens` changes: the backbone is the online
    encoder's, run once more on masked tokens. Being made of rows it is gathered and cached like an embedding.
    `RatioOfSums` makes a loss of it.

    Args:
        encoder: The online encoder; not a part of this module, so that its weights are saved and trained once.

    Source: Gao et al. 2021, https://arxiv.org/abs/2104.08821

    Note:
        The layer between states and vocabulary is fresh and ends in the input embeddings; the authors take the
        checkpoint's own, which sentence-transformers folders lack.
    """

    dimension = 2

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self._encoder = (encoder,)
        words, width = self._table.shape
        states, device = int(encoder.backbone.config.hidden_size), encoder.device
        self.transform = nn.Sequential(nn.Linear(states, width), nn.GELU(), nn.LayerNorm(width))
        self.transform.to(device)
        self.bias = nn.Parameter(torch.zeros(words, device=device))

    @property
    def _table(self) -> Float[Tensor, "V E"]:
        return self._encoder[0].backbone.get_input_embeddings().weight  # pyright: ignore[reportReturnType]

    def plan(self, tokens: Tokens, *, rounded: bool = False) -> Tokens:
        """The tokens with their layout and where the masked ones are.

        Args:
            tokens: On the CPU.
            rounded: Changes nothing: how many tokens are masked differs from batch to batch.

        Raises:
            ValueError: If no view masks tokens.
        """
        if isinstance(tokens, _MaskedTokens):
            return tokens
        if tokens.changes is None or tokens.changes.targets is None:
            raise ValueError("MaskedTokenLoss needs a view with MaskTokens among its changes")
        targets = tokens.changes.targets.cpu().numpy()
        masked = np.flatnonzero(targets != NO_TARGET)
        rows = np.repeat(np.arange(len(tokens)), tokens.lengths.numpy())[masked]
        return _MaskedTokens(
            tokens.ids,
            tokens.lengths,
            tokens.changes,
            layout=layout_of(self._encoder[0].backbone, tokens) if len(tokens.ids) else None,
            masked=torch.from_numpy(masked),
            targets=torch.from_numpy(targets[masked]),
            row_of=torch.from_numpy(rows),
        )

    def forward(self, tokens: Tokens) -> Float[Tensor, "B 2"]:
        """Loss and count of each row; zeros where nothing was masked."""
        planned = to_device(self.plan(tokens), self.bias.device)
        assert isinstance(planned, _MaskedTokens)
        states = hidden_states(self._encoder[0].backbone, planned, layout=planned.layout)[-1]
        transformed = self.transform(states.index_select(0, planned.masked))
        logits = F.linear(transformed, self._table, self.bias)
        losses = F.cross_entropy(widen(logits), planned.targets, reduction="none")
        sums = losses.new_zeros(len(tokens)).index_add(0, planned.row_of, losses)
        ones = torch.ones_like(losses)
        counts = losses.new_zeros(len(tokens)).index_add(0, planned.row_of, ones)
        return torch.stack([sums, counts], 1)


@dataclass(frozen=True, kw_only=True)
class _MaskedTokens(Tokens):
    """Tokens with where they lie; and of the masked ones their places, what they were, and their rows."""

    layout: Layout | None
    masked: Int[Tensor, " n"]
    targets: Int[Tensor, " n"]
    row_of: Int[Tensor, " n"]
