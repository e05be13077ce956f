"""Masked tokens, which a model learns to find."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from textcl.errors import UserError
from textcl.types import NO_TARGET, Changes, Tokens
from textcl.views.cutoff import draw_uniform


def mask_tokens(
    ids: Int[Tensor, " T"],
    uniform: Float[Tensor, "3 T"],
    special: Int[Tensor, " S"],
    mask_id: int,
    vocabulary: int,
    rate: float = 0.15,
) -> tuple[Int[Tensor, " T"], Int[Tensor, " T"]]:
    """Select tokens, and replace 80 % of them by the mask token and 10 % by any token.

    Args:
        ids: Token ids.
        uniform: Three draws for each token: whether it is selected, what replaces it, and which token that is.
        special: Ids that are never selected.
        mask_id: Id of the mask token.
        vocabulary: Number of ids to replace by.
        rate: Probability of each token to be selected.

    Returns:
        The corrupted ids, and the targets: the id that was there where a token is selected, `NO_TARGET` elsewhere.

    Source: Devlin et al. 2019, https://arxiv.org/abs/1810.04805
    """
    drawn, kind, which = uniform
    anything = (which * vocabulary).long()
    selected = (drawn < rate) & ~torch.isin(ids, special)
    seen = torch.where(kind < 0.8, mask_id, torch.where(kind < 0.9, anything, ids))
    return torch.where(selected, seen, ids), torch.where(selected, ids, NO_TARGET)


@dataclass(frozen=True)
class MaskTokens:
    """A change of a view's tokens: some are masked, and become targets, see `mask_tokens`.

    Args:
        special: Ids that are never masked.
        mask_id: Id of the mask token.
        vocabulary: Number of ids to replace by.
        rate: Probability of each token to be masked.
    """

    special: tuple[int, ...]
    mask_id: int
    vocabulary: int
    rate: float = 0.15

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, rate: float = 0.15) -> MaskTokens:
        """With the ids of a tokenizer.

        Raises:
            UserError: If it has no mask token.
        """
        mask_id = tokenizer.mask_token_id
        if not isinstance(mask_id, int):
            raise UserError(
                "masked language modelling needs a mask token, which this model's tokenizer lacks: set mlm_weight=0"
            )
        return cls(tuple(tokenizer.all_special_ids), mask_id, len(tokenizer), rate)

    def __call__(self, tokens: Tokens, rngs: Sequence[random.Random]) -> Tokens:
        """The rows with tokens masked."""
        counts = tokens.lengths.tolist()
        uniform = torch.stack([draw_uniform(rngs, counts) for _ in range(3)])
        special = torch.tensor(self.special)
        ids, targets = mask_tokens(
            tokens.ids, uniform, special, self.mask_id, self.vocabulary, self.rate
        )
        return replace(
            tokens, ids=ids, changes=replace(tokens.changes or Changes(), targets=targets)
        )
