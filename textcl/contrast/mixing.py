"""Feature transformation: harder positives and more varied negatives by mixing features.

The mixed rows leave the unit sphere; the table takes their plain dot products.

Source: Zhu et al. 2021, https://arxiv.org/abs/2108.02982
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from textcl.arithmetic import unit
from textcl.contrast.draws import Mix
from textcl.contrast.table import Contrast, Rule, exclude
from textcl.distributed import ALONE, World
from textcl.types import Embeddings

Draw = Callable[[Float[Tensor, "N D"]], Mix]
"""Draws a mixture of the given rows, such as `BetaMix`."""


@dataclass(frozen=True)
class ExtrapolatePositives:
    """Moves anchors and positives apart: q̂ = λq + (1-λ)k and k̂ = λk + (1-λ)q with λ in [1, 2].

    With one λ a row, q̂·k̂ = S + 2λ(1-λ)(1-S) ≤ S = q·k. All negatives are compared with q̂. Each anchor sees its own k̂
    only; to the others its positive stays what it was. λ in [0, 1] makes positives easier by the same formula.

    Args:
        draw: λ for the anchors; `BetaMix(2.0, shift=1)` as published.
        normalize: Bring mixed rows back to length 1.

    Source: Zhu et al. 2021, https://arxiv.org/abs/2108.02982

    Note:
        The keys of a momentum encoder have no gradient, so that it reaches the anchors alone, through q̂ and k̂. Must
        come before `AppendQueue` and after `InterpolateBatch`.
    """

    draw: Draw
    normalize: bool = False

    def __call__(self, contrast: Contrast, z: Embeddings) -> Contrast:
        """The table with mixed anchors and a new column for each anchor's positive."""
        own = _positives(contrast, "ExtrapolatePositives")
        mix, positives = self.draw(contrast.anchors), contrast.candidates[own]
        anchors = mixed(contrast.anchors, positives, mix.coefficient)
        positives = mixed(positives, contrast.anchors, mix.coefficient)
        if self.normalize:
            anchors, positives = unit(anchors), unit(positives)
        groups = contrast.candidate_groups
        wide = contrast.with_columns(positives, None if groups is None else groups[own])
        first = len(contrast.candidates)
        columns = torch.arange(len(wide.candidates), device=own.device)

        def not_mine(rows: Tensor) -> Tensor:
            new = (columns >= first) & (columns != first + rows[:, None])
            return new | (columns == own[rows, None])

        return replace(
            wide,
            anchors=anchors,
            targets=first + torch.arange(len(anchors), device=own.device),
            queued=0,
            census=contrast.census,
        ).weighted(exclude(not_mine, contrast.dtype))


@dataclass(frozen=True)
class InterpolateQueue:
    """Mixes the queue's keys among themselves: Q̂_j = λQ_j + (1-λ)Q_π(j). The stored keys stay as they are.

    Where the table hides one of the two from an anchor, such as a duplicate of it, their mixture is hidden, too.

    Args:
        draw: λ in [0, 1] and the order π for the queue's columns; `BetaMix(1.6)` as published.

    Source: Zhu et al. 2021, https://arxiv.org/abs/2108.02982

    Note:
        The official code stores the mixed keys when it runs in one process; here the queue never sees them.
    """

    draw: Draw

    def __call__(self, contrast: Contrast, z: Embeddings) -> Contrast:
        """The table with a mixed queue; the same table while the queue is empty."""
        if not contrast.queued:
            return contrast
        first = len(contrast.candidates) - contrast.queued
        queue = contrast.candidates[first:]
        mix = self.draw(queue)
        queue = mixed(queue, queue[mix.partners], mix.coefficient)
        unmixed = torch.arange(first, device=mix.partners.device)
        mixed_with = torch.cat([unmixed, first + mix.partners])
        masked = contrast.masked
        return replace(
            contrast,
            candidates=torch.cat([contrast.candidates[:first], queue]),
            log_weights=tuple(_unless_either(rule, mixed_with) for rule in contrast.log_weights),
            mixed_with=mixed_with,
            masked=masked and (lambda rows: masked(rows) | masked(rows)[:, mixed_with]),
        )


@dataclass(frozen=True)
class InterpolateBatch:
    """Mixes the batch's candidates among themselves: anchor i sees λk_j + (1-λ)k_π(j) in place of k_j.

    Its own positive stays unmixed, and so does k_j where π(j) is its positive, which therefore never leaks into its
    negatives. Where the table hides k_j or k_π(j) from an anchor, such as a duplicate of it, their mixture is
    hidden, too.

    Args:
        draw: λ in [0, 1] and the order π for the candidates; the same on all ranks.

    Source: Zhu et al. 2021, https://arxiv.org/abs/2108.02982, used within the batch
    """

    draw: Draw

    def __call__(self, contrast: Contrast, z: Embeddings) -> Contrast:
        """The table with every candidate twice, unmixed and mixed; each anchor sees one of the two."""
        own = _positives(contrast, "InterpolateBatch")
        candidates, groups = contrast.candidates, contrast.candidate_groups
        mix = self.draw(candidates)
        columns = torch.arange(len(candidates), device=own.device)

        def not_this_one(rows: Tensor) -> Tensor:
            mine = own[rows, None]
            plain = (columns == mine) | (mix.partners == mine)
            return torch.cat([~plain, plain], 1)

        return replace(
            contrast,
            candidates=torch.cat(
                [candidates, mixed(candidates, candidates[mix.partners], mix.coefficient)]
            ),
            log_weights=tuple(_twice(rule, mix.partners) for rule in contrast.log_weights),
            candidate_groups=None if groups is None else groups.repeat(2),
            mixed_with=torch.cat([columns, mix.partners]),
        ).weighted(exclude(not_this_one, contrast.dtype))


def mixed(
    rows: Float[Tensor, "N D"],
    others: Float[Tensor, "N D"],
    coefficient: Float[Tensor, ""] | Float[Tensor, "N 1"] | Float[Tensor, "N D"],
) -> Float[Tensor, "N D"]:
    """coefficient·rows + (1 - coefficient)·others."""
    return coefficient * rows + (1 - coefficient) * others


def _positives(contrast: Contrast, who: str) -> Int[Tensor, " A"]:
    if not isinstance(contrast.targets, Tensor):
        raise ValueError(f"{who} needs one positive an anchor, as AnchorPositive gives")
    if contrast.queued:
        raise ValueError(f"{who} must come before AppendQueue")
    return contrast.targets


def _unless_either(rule: Rule, mixed_with: Int[Tensor, " C"]) -> Rule:
    """The rule for columns that were mixed: what it says of each, and -inf if it hides the other one."""

    def either(rows: Tensor) -> Tensor:
        values = rule(rows)
        return values.masked_fill(torch.isneginf(values[:, mixed_with]), -torch.inf)

    return either


def _twice(rule: Rule, partners: Int[Tensor, " C"]) -> Rule:
    """The rule for columns that are there unmixed, and again mixed with their partners."""
    mixture = _unless_either(rule, partners)
    return lambda rows: torch.cat([rule(rows), mixture(rows)], 1)


@dataclass(frozen=True)
class MixAnchors:
    """Anchor i becomes λ·anchor i + (1-λ)·anchor π(i), with length 1; λ of its target is its own positive.

    The loss is then λ·CE(own positive) + (1-λ)·CE(partner's positive).

    Args:
        draw: λ in [0, 1] and the order π for the anchors of all processes, such as `BetaMix(0.2)`; one λ for all or one
            a row. The same on all ranks.
        world: The processes that train together.

    Source: Zhang et al. 2018, https://arxiv.org/abs/1710.09412

    Note:
        Unit anchors are mixed, so that long vectors do not count more. Every positive must be a candidate of every
        anchor, so it does not go with `only_own_positive`.
    """

    draw: Callable[[Float[Tensor, "N D"]], Mix]
    world: World = ALONE

    def __call__(self, contrast: Contrast, z: Embeddings) -> Contrast:
        """The table with mixed anchors and two targets for each."""
        if not isinstance(contrast.targets, Tensor):
            raise ValueError("MixAnchors needs one positive an anchor, as AnchorPositive gives")
        own, anchors = contrast.targets, self.world.gather(contrast.anchors)
        mix, positives = self.draw(anchors), self.world.gather(own)
        if mix.coefficient.numel() not in (1, len(anchors)):
            raise ValueError(
                'MixAnchors needs one coefficient a row or for all rows, not level="dimension"'
            )
        weights = mix.coefficient.expand(len(anchors), 1)[:, 0]
        here = self.world.offset(len(own)) + torch.arange(len(own), device=own.device)
        others, share = positives[mix.partners[here]], weights[here]

        def targets(rows: Tensor) -> Tensor:
            table = contrast.candidates.new_zeros(
                (len(rows), len(contrast.candidates)), dtype=contrast.dtype
            )
            mine = share[rows, None].to(table)
            table.scatter_add_(1, own[rows, None], mine)
            return table.scatter_add_(1, others[rows, None], 1 - mine)

        own_weights = weights.to(anchors)[:, None]
        both = mixed(anchors, anchors[mix.partners.to(anchors.device)], own_weights)
        return replace(contrast, anchors=unit(both[here]), targets=targets)
