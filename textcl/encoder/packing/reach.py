"""Reach of attention inside a row: both ways or backwards only, and over how many places."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from transformers import PreTrainedModel


@dataclass(frozen=True)
class Reach:
    """Reach of a token over the places of its row.

    Args:
        window: It attends to tokens fewer places away than this; to all when None.
        causal: Whether it attends to itself and the tokens before it alone, as in decoders.
    """

    window: int | None = None
    causal: bool = False

    @classmethod
    def of(cls, attention: nn.Module, is_causal: bool | None, window: int | None) -> Reach:
        """The reach of the tokens of an attention block.

        Args:
            attention: A block of transformers.
            is_causal: What the configuration of the model sets; None for what is usual in its family.
            window: Of the block. A decoder that its configuration makes bidirectional includes its end.
        """
        decoder = bool(getattr(attention, "is_causal", False))
        causal = decoder if is_causal is None else is_causal
        if window is not None and decoder and not causal:
            window += 1
        return cls(window, causal)

    def cuts(self, length: int) -> bool:
        """Whether the window is shorter than a row of this length."""
        return self.window is not None and length > self.window

    def mask(
        self, length: int, device: torch.device | None = None
    ) -> Bool[Tensor, "1 1 L L"] | None:
        """True where a token, by row, attends to another, by column; None where each attends to all."""
        if length == 1 or not (self.causal or self.cuts(length)):
            return None
        places = range(length)
        return self.between(places, places, device)

    def between(
        self, queries: range, keys: range, device: torch.device | None = None
    ) -> Bool[Tensor, "1 1 Q K"]:
        """True where a token of some places, by row, attends to one of others, by column."""
        asking, asked = (
            torch.arange(places.start, places.stop, device=device) for places in (queries, keys)
        )
        ahead = asked - asking[:, None]
        seen = ahead <= 0 if self.causal else torch.ones_like(ahead, dtype=torch.bool)
        if self.window is not None:
            seen &= ahead.abs() < self.window
        return seen[None, None]

    @property
    def sides(self) -> tuple[int, int]:
        """Most places before and behind a token that it attends to, -1 for all, as flash attention takes them."""
        far = -1 if self.window is None else self.window - 1
        return far, 0 if self.causal else far


def is_causal(model: PreTrainedModel) -> bool:
    """Whether the tokens of a model attend to none behind them."""
    configured = getattr(model.config, "is_causal", None)
    if configured is not None:
        return bool(configured)
    return any(getattr(module, "is_causal", False) is True for module in model.modules())


def visible_keys(
    keys: Bool[Tensor, "B 1 1 L"], near: Bool[Tensor, "1 1 L L"] | None
) -> Bool[Tensor, "B 1 _ L"]:
    """Mask of the keys that each query attends to; itself where there is none, as a row without keys becomes nan.

    Args:
        keys: False for tokens that none attends to.
        near: What `Reach.mask` gives.
    """
    if near is None:
        return keys
    mask = keys & near
    itself = torch.eye(near.shape[-1], dtype=torch.bool, device=near.device)
    return mask | (itself & ~mask.any(-1, keepdim=True))
