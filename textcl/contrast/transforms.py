"""Transforms of the table: what they are, and those that choose the negatives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from textcl.contrast.pairings import Pairing
from textcl.contrast.table import Contrast, exclude
from textcl.distributed import World
from textcl.types import Embeddings


@runtime_checkable
class Transform(Protocol):
    """Replaces the table by another."""

    def __call__(self, contrast: Contrast, z: Embeddings) -> Contrast:
        """The changed table."""
        ...


def lay_out(
    z: Embeddings, pairing: Pairing, transforms: Sequence[Transform], world: World
) -> Contrast:
    """The table of `z` after all transforms."""
    contrast = pairing(z, world)
    for transform in transforms:
        contrast = transform(contrast, z)
    return contrast


def only_own_positive(contrast: Contrast, z: Embeddings) -> Contrast:
    """Takes the positives of the other anchors out of the table: negatives come from a queue only (MoCo)."""
    columns = len(contrast.candidates) - contrast.queued

    def others(rows: Tensor) -> Tensor:
        hidden = contrast.target_weights(rows) == 0
        hidden[:, columns:] = False
        return hidden

    census = {"queue": contrast.queued} if contrast.queued else {"in-batch": 0}
    return replace(contrast.weighted(exclude(others, contrast.dtype)), census=census)


@dataclass(frozen=True)
class KeepHardest:
    """Keeps of each anchor's negatives the fraction with the highest similarity.

    Args:
        fraction: Fraction α in (0, 1] that stays; ⌈α·M⌉ of M negatives, ties with the last one included.

    Source: Wang & Liu 2021, https://arxiv.org/abs/2012.09740
    """

    fraction: float

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction must be in (0, 1], not {self.fraction}")

    def __call__(self, contrast: Contrast, z: Embeddings) -> Contrast:
        """The table without its easy negatives."""

        @torch.no_grad()
        def easy(rows: Tensor) -> Tensor:
            block = contrast.block(rows, 1.0)
            negatives = block.negatives
            similarity = block.similarity.masked_fill(~negatives, -math.inf)
            kept = torch.ceil(self.fraction * negatives.sum(1) - 1e-9).clamp(min=1).long()
            ranked = similarity.sort(1, descending=True).values
            slack = 1e-12 if similarity.dtype == torch.float64 else 1e-6
            threshold = ranked.gather(1, kept[:, None] - 1) - slack
            return negatives & (similarity < threshold)

        return contrast.weighted(exclude(easy, contrast.dtype))
