"""Transforms of the table: masks, and a choice of negatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from textcl.contrast.pairings import Pairing
from textcl.contrast.table import Contrast, Rule, exclude
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


@dataclass(frozen=True)
class MaskDuplicates:
    """Takes a column out where it holds the text of the anchor or of a positive of it, but is no positive itself.

    Two equal sentences in a batch otherwise cost each of their anchors about ln 2, whatever the encoder does.
    """

    def __call__(self, contrast: Contrast, z: Embeddings) -> Contrast:
        """The table without false negatives of equal text."""
        mine, theirs = contrast.anchor_groups, contrast.candidate_groups
        if mine is None or theirs is None:
            return contrast
        positives = _texts_of_targets(contrast.targets, theirs)

        def same_text(rows: Tensor) -> Tensor:
            weights = contrast.target_weights(rows)
            equal = (mine[rows, None] == theirs) | positives(rows, weights)
            return equal & (weights == 0)

        def newly_hidden(rows: Tensor) -> Tensor:
            hidden = same_text(rows)
            for rule in contrast.log_weights:
                hidden &= ~torch.isneginf(rule(rows))
            return hidden

        masked = contrast.weighted(exclude(same_text, contrast.dtype))
        return replace(masked, masked=newly_hidden)


def _texts_of_targets(
    targets: Tensor | Rule, groups: Int[Tensor, " C"]
) -> Callable[[Tensor, Tensor], Tensor]:
    """Given some anchors and their targets as weights, which candidates have the text of one of the targets."""
    if isinstance(targets, Tensor):
        own = groups[targets]
        return lambda rows, weights: own[rows, None] == groups
    texts, text_of = groups.unique(return_inverse=True)

    def equal(rows: Tensor, weights: Tensor) -> Tensor:
        found = weights.new_zeros((len(rows), len(texts)))
        return found.index_add_(1, text_of, (weights > 0).to(weights))[:, text_of] > 0

    return equal


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
