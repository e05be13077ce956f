"""Pairings: from embeddings to a table of anchors and candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from textcl.arithmetic import unit
from textcl.contrast.table import Contrast, exclude
from textcl.distributed import World
from textcl.types import Embeddings


@runtime_checkable
class Pairing(Protocol):
    """Lays out the table."""

    def __call__(self, z: Embeddings, world: World) -> Contrast:
        """The table of the embeddings of this process against those of all processes."""
        ...


@dataclass(frozen=True)
class AnchorPositive:
    """Each anchor against all positives of the batch, and all hard negatives where there are any.

    Args:
        anchor: Name of the anchors.
        positive: Name of the positives; row i is anchor i's.
        negatives: Names of hard negatives; row i of each belongs to anchor i.
        hard_negative_weight: Added to the logit of an anchor's own hard negatives: ln of how often they count.

    Source: Gao et al. 2021, https://arxiv.org/abs/2104.08821
    """

    anchor: str = "anchor"
    positive: str = "positive"
    negatives: Sequence[str] = ()
    hard_negative_weight: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """The embeddings it reads."""
        return (self.anchor, self.positive, *self.negatives)

    def __call__(self, z: Embeddings, world: World) -> Contrast:
        """The table of `z`."""
        rows = len(z)
        sources = [self.positive, *self.negatives]
        gathered = [world.gather(unit(z[name])) for name in sources]
        first, total = world.offset(rows), len(gathered[0])
        own = first + torch.arange(rows, device=z.rows.device)
        contrast = Contrast(
            anchors=unit(z[self.anchor]),
            candidates=torch.cat(gathered),
            targets=own,
            anchor_groups=z.group(self.anchor),
            candidate_groups=torch.cat([world.gather(z.group(name)) for name in sources]),
            census=_census(rows, total, len(self.negatives)),
        )
        if not self.negatives or self.hard_negative_weight == 0:
            return contrast

        def own_hard_negatives(rows: Tensor) -> Tensor:
            shape = (len(rows), len(contrast.candidates))
            weight = torch.zeros(shape, dtype=contrast.dtype, device=rows.device)
            for block in range(1, len(sources)):
                weight.scatter_(1, (own[rows] + block * total)[:, None], self.hard_negative_weight)
            return weight

        return contrast.weighted(own_hard_negatives)


def _census(rows: int, total: int, negatives: int) -> dict[str, int]:
    parts = {"in-batch": rows - 1, "gathered": total - rows, "hard": negatives * total}
    return {kind: count for kind, count in parts.items() if count or kind == "in-batch"}


@dataclass(frozen=True)
class AllViews:
    """Every view of every row against all others: 2B anchors for two views, itself excluded.

    Args:
        names: The views.
        same: "rows": the other views of the same row are the targets. "labels": all rows with the same label; with
            multi-hot labels, in proportion to the shared share |y ∩ y'| / |y ∪ y'|.

    Source: Chen et al. 2020, https://arxiv.org/abs/2002.05709; Khosla et al. 2020,
        https://arxiv.org/abs/2004.11362
    """

    names: Sequence[str] = ("anchor", "positive")
    same: str = "rows"

    def __post_init__(self) -> None:
        if self.same not in ("rows", "labels"):
            raise ValueError(f'same must be "rows" or "labels", not "{self.same}"')

    def __call__(self, z: Embeddings, world: World) -> Contrast:
        """The table of `z`."""
        rows, views = len(z), len(self.names)
        anchors = [unit(z[name]) for name in self.names]
        candidates = torch.cat([world.gather(x) for x in anchors])
        total, first = len(candidates) // views, world.offset(rows)
        here = torch.arange(rows, device=z.rows.device)
        slots = torch.cat([v * total + first + here for v in range(views)])
        columns = torch.arange(len(candidates), device=z.rows.device)
        dtype = candidates.dtype
        labels = _labels(z, world, views) if self.same == "labels" else None
        identities = columns % total if labels is None else labels

        def targets(rows: Tensor) -> Tensor:
            shared = _shared_labels(identities[slots[rows]], identities).to(dtype)
            weights = shared.scatter(1, slots[rows, None], 0.0)
            return weights / weights.sum(1, keepdim=True).clamp(min=torch.finfo(dtype).tiny)

        return Contrast(
            anchors=torch.cat(anchors),
            candidates=candidates,
            targets=targets,
            log_weights=(exclude(lambda rows: slots[rows, None] == columns, dtype),),
            anchor_groups=torch.cat([z.group(name) for name in self.names]),
            candidate_groups=torch.cat([world.gather(z.group(name)) for name in self.names]),
            candidate_labels=labels,
            census={"in-batch": views * (rows - 1), "gathered": views * (total - rows)}
            if total > rows
            else {"in-batch": views * (rows - 1)},
        )


def _labels(z: Embeddings, world: World, views: int) -> Tensor:
    if z.labels is None:
        raise ValueError('AllViews(same="labels") needs labels, and the batch has none')
    return world.gather(z.labels).repeat(views, *[1] * (z.labels.ndim - 1))


def _shared_labels(mine: Tensor, theirs: Tensor) -> Tensor:
    if mine.ndim == 1:
        return mine[:, None] == theirs
    with torch.autocast(mine.device.type, enabled=False):
        shared = mine @ theirs.T
    union = mine.sum(1, keepdim=True) + theirs.sum(1) - shared
    return shared / union.clamp(min=1)
