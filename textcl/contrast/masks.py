"""Masks of the table: candidates that are probably not negatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from textcl.contrast.pairings import Pairing
from textcl.contrast.table import Contrast, Mask, Rule, exclude
from textcl.distributed import ALONE, World
from textcl.types import Embeddings


@dataclass(frozen=True)
class MaskDuplicates:
    """Takes a column out where it holds the text of the anchor or of a positive of it, but is no positive itself.

    Two equal sentences in a batch otherwise cost each of their anchors about ln 2, whatever the encoder does. Where the
    pairing names partners (`PairTable`), the positive of another row with the same anchor goes, too. A column that was
    mixed goes if either of the two would.
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
            hidden = equal & (weights == 0)
            both = contrast.mixed_with
            return hidden if both is None else hidden | hidden[:, both]

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
        totals = weights.new_zeros((len(rows), len(texts)))
        return totals.index_add_(1, text_of, (weights > 0).to(weights))[:, text_of] > 0

    return equal
