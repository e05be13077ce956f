"""Masked language modelling beside a contrastive loss: what the masked tokens of each row cost."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from textcl.arithmetic import widen
from textcl.encoder.encoder import Encoder
from textcl.encoder.packing.hidden_states import hidden_states
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

    def forward(self, tokens: Tokens) -> Float[Tensor, "B 2"]:
        """Loss and count of each row; zeros where nothing was masked."""
        tokens = tokens.to(self.bias.device)
        if tokens.changes is None or tokens.changes.targets is None:
            raise ValueError("MaskedTokenLoss needs a view with MaskTokens among its changes")
        targets = tokens.changes.targets
        masked = targets != NO_TARGET
        states = hidden_states(self._encoder[0].backbone, tokens)[-1]
        logits = F.linear(self.transform(states[masked]), self._table, self.bias)
        losses = F.cross_entropy(widen(logits), targets[masked], reduction="none")
        row = torch.arange(len(tokens)).repeat_interleave(tokens.lengths)
        row = row.to(losses.device, non_blocking=True)[masked]
        sums = losses.new_zeros(len(tokens)).index_add(0, row, losses)
        counts = losses.new_zeros(len(tokens)).index_add(0, row, torch.ones_like(losses))
        return torch.stack([sums, counts], 1)
