"""Masked language modelling beside a contrastive loss: what the masked tokens of each row cost."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from textcl.arithmetic import widen
from textcl.encoder.encoder import Encoder
from textcl.encoder.packing.hidden_states import hidden_states
from textcl.errors import UserError
from textcl.types import Tokens


@dataclass(frozen=True)
class Masked:
    """A corrupted copy of token ids.

    Args:
        ids: The ids that the model sees.
        selected: True where the model must find the id that was there.
    """

    ids: Int[Tensor, " T"]
    selected: Bool[Tensor, " T"]


def mask_tokens(
    ids: Int[Tensor, " T"],
    special: Int[Tensor, " S"],
    mask_id: int,
    vocabulary: int,
    rate: float = 0.15,
) -> Masked:
    """Select tokens, and replace 80 % of them by the mask token and 10 % by any token.

    Args:
        ids: Token ids.
        special: Ids that are never selected.
        mask_id: Id of the mask token.
        vocabulary: Number of ids to replace by.
        rate: Probability of each token to be selected.

    Returns:
        The corrupted ids; all draws are from torch's default generator of their device.

    Source: Devlin et al. 2019, https://arxiv.org/abs/1810.04805
    """
    drawn, kind = torch.rand((2, len(ids)), device=ids.device)
    anything = torch.randint(vocabulary, ids.shape, device=ids.device)
    selected = (drawn < rate) & ~torch.isin(ids, special)
    seen = torch.where(kind < 0.8, mask_id, torch.where(kind < 0.9, anything, ids))
    return Masked(torch.where(selected, seen, ids), selected)


class MaskedTokenLoss(nn.Module):
    """Rows of tokens to (summed cross-entropy of their masked tokens, number of those).

    A method lists it among its encoders: the backbone is the online encoder's, run once more on masked tokens. Being
    made of rows it is gathered and cached like an embedding, because masks are drawn from torch's default generator,
    which gradient caching replays. `RatioOfSums` makes a loss of it.

    Args:
        encoder: The online encoder; not a part of this module, so that its weights are saved and trained once.
        rate: Probability of each token to be masked.

    Source: Gao et al. 2021, https://arxiv.org/abs/2104.08821

    Note:
        The layer between states and vocabulary is fresh and ends in the input embeddings; the authors take the
        checkpoint's own, which sentence-transformers folders lack.
    """

    dimension = 2
    special: Tensor

    def __init__(self, encoder: Encoder, rate: float = 0.15) -> None:
        super().__init__()
        if encoder.tokenizer.mask_token_id is None:
            raise UserError(
                "masked language modelling needs a mask token, which this model's tokenizer lacks: set mlm_weight=0"
            )
        self._encoder, self.rate = (encoder,), rate
        self.mask_id = int(encoder.tokenizer.mask_token_id)  # pyright: ignore[reportArgumentType]
        words, width = self._table.shape
        states, device = int(encoder.backbone.config.hidden_size), encoder.device
        self.transform = nn.Sequential(nn.Linear(states, width), nn.GELU(), nn.LayerNorm(width))
        self.transform.to(device)
        self.bias = nn.Parameter(torch.zeros(words, device=device))
        special = torch.tensor(encoder.tokenizer.all_special_ids, device=device)
        self.register_buffer("special", special, persistent=False)

    @property
    def _table(self) -> Float[Tensor, "V E"]:
        return self._encoder[0].backbone.get_input_embeddings().weight  # pyright: ignore[reportReturnType]

    def forward(self, tokens: Tokens) -> Float[Tensor, "B 2"]:
        """Loss and count of each row; zeros where nothing was selected."""
        tokens = tokens.to(self.bias.device)
        masked = mask_tokens(tokens.ids, self.special, self.mask_id, len(self.bias), self.rate)
        states = hidden_states(self._encoder[0].backbone, replace(tokens, ids=masked.ids))[-1]
        logits = F.linear(self.transform(states[masked.selected]), self._table, self.bias)
        losses = F.cross_entropy(widen(logits), tokens.ids[masked.selected], reduction="none")
        row = torch.arange(len(tokens)).repeat_interleave(tokens.lengths)
        row = row.to(losses.device, non_blocking=True)[masked.selected]
        sums = losses.new_zeros(len(tokens)).index_add(0, row, losses)
        counts = losses.new_zeros(len(tokens)).index_add(0, row, torch.ones_like(losses))
        return torch.stack([sums, counts], 1)
