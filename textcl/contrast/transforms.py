"""Transforms of the table: masks, and a choice of negatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from textcl.contrast.pairings import Pairing
from textcl.contrast.table import Contrast, Mask, Rule, exclude
from textcl.distributed import ALONE, World
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

    Two equal sentences in a batch otherwise cost each of their anchors about ln 2, whatever the encoder does. Where the
    pairing names partners (`PairTable`), the positive of another row with the same anchor goes, too.
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
            if contrast.candidate_partners is not None:
                equal |= mine[rows, None] == contrast.candidate_partners
            return equal & (weights == 0)

        return _hide(contrast, same_text)


def _hide(contrast: Contrast, mask: Mask) -> Contrast:
    """The table without the columns of `mask`, which count as masked where nothing hid them before."""

    def newly_hidden(rows: Tensor) -> Tensor:
        hidden = mask(rows)
        for rule in contrast.log_weights:
            hidden &= ~torch.isneginf(rule(rows))
        return hidden if contrast.masked is None else hidden | contrast.masked(rows)

    return replace(contrast.weighted(exclude(mask, contrast.dtype)), masked=newly_hidden)


@dataclass(frozen=True)
class MaskAbove:
    """Takes a column out whose similarity s to the anchor is too near to that of the anchor's positive, p, or above it.

    Such a candidate is more likely a positive that nobody marked than a negative. The positive itself always stays.

    Args:
        margin: What s may not exceed: p - margin. Below 0 it lets candidates be more similar than the positive.
        relative: The limit is p - |p|·margin instead.
        guide: The same pairing over the embeddings of a guide, whose similarities then decide instead of the table's.
        rows: "all" anchors of the table, or the "first" B, which are those of the rows.
        world: The processes that train together.

    Source: Solatorio 2024, https://arxiv.org/abs/2402.16829; Moreira et al. 2024, https://arxiv.org/abs/2407.15831
    """

    margin: float
    relative: bool = False
    guide: Pairing | None = None
    rows: Literal["all", "first"] = "all"
    world: World = ALONE

    def __call__(self, contrast: Contrast, z: Embeddings) -> Contrast:
        """The table without candidates above the limit of their anchor."""
        judge = contrast if self.guide is None else self.guide(z, self.world)
        targets, first = contrast.targets, len(z)
        if not isinstance(targets, Tensor):
            raise ValueError("a margin to the positive needs a pairing with one positive an anchor")

        @torch.no_grad()
        def above(rows: Tensor) -> Tensor:
            similarity = judge.similarity(rows)
            positive = similarity.gather(1, targets[rows, None])
            scale = positive.abs() if self.relative else 1.0
            hidden = similarity > positive - scale * self.margin
            hidden.scatter_(1, targets[rows, None], False)
            return hidden if self.rows == "all" else hidden & (rows < first)[:, None]

        return _hide(contrast, above)


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
