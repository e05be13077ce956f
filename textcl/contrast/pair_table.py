"""The table of pairs with hard negatives: anchors and, where they look for their anchor too, positives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from textcl.arithmetic import unit, widen
from textcl.contrast.table import Contrast, exclude
from textcl.distributed import World
from textcl.types import ABSENT, Embeddings

Term = Literal[
    "anchor_anchor",
    "positive_anchor",
    "positive_positive",
    "positive_negative",
    "positive_own_negative",
]
"""A contrast besides that of anchors with positives and negatives: anchors with other anchors, positives with
all anchors, with other positives, with the negatives of other rows, with those of their own row."""

FOUR_WAYS: tuple[Term, ...] = (
    "anchor_anchor",
    "positive_anchor",
    "positive_positive",
    "positive_negative",
)
"""Questions and documents in all four directions; no positive is pushed from the negatives of its own row."""

Hardened = Literal["own", "others", "all"]
"""Negatives that count more the more similar they are: those of the anchor's own row, the positives and negatives of
the other rows, or both."""

_POSITIVE, _NEGATIVE, _ANCHOR = range(3)


@dataclass(frozen=True)
class PairTable:
    """Anchors against all positives and hard negatives, and whatever else `terms` adds.

    The first B anchors of the table are those of the rows; where a term begins with "positive", B positives follow,
    whose target is their anchor. A hard negative whose identity is `ABSENT` is no candidate: lists may be short.

    Args:
        anchor: Name of the anchors.
        positive: Name of the positives; row i is anchor i's.
        negatives: Names of hard negatives; row i of each belongs to anchor i.
        terms: What is contrasted besides.
        cosine: Whether rows are scaled to length 1; their dot products are taken as they are otherwise.
        hardness: α, added to the logit of an anchor's hardened negatives times their similarity, which gets no gradient
            from it; the logits of positives in `terms` stay as they are.
        hardened: Which negatives those are.

    Source: Henderson et al. 2017, https://arxiv.org/abs/1705.00652; Li et al. 2023,
        https://arxiv.org/abs/2308.03281 (four directions); Lan et al. 2025, https://arxiv.org/abs/2503.04812 (hardness)
    """

    anchor: str = "anchor"
    positive: str = "positive"
    negatives: Sequence[str] = ()
    terms: Sequence[Term] = ()
    cosine: bool = True
    hardness: float = 0.0
    hardened: Hardened = "own"

    @property
    def names(self) -> tuple[str, ...]:
        """The embeddings it reads."""
        return (self.anchor, self.positive, *self.negatives)

    def __call__(self, z: Embeddings, world: World) -> Contrast:
        """The table of `z`."""
        scaled = unit if self.cosine else widen
        sources = [self.positive, *self.negatives, *([self.anchor] if self.terms else [])]
        gathered = [world.gather(scaled(z[name])) for name in sources]
        total, device = len(gathered[0]), z.rows.device
        own = world.offset(len(z)) + torch.arange(len(z), device=device)
        kinds = [_POSITIVE, *[_NEGATIVE] * len(self.negatives), *([_ANCHOR] if self.terms else [])]
        twice = any(term.startswith("positive") for term in self.terms)
        anchors = [self.anchor, self.positive] if twice else [self.anchor]
        table = Contrast(
            anchors=torch.cat([scaled(z[name]) for name in anchors]),
            candidates=torch.cat(gathered),
            targets=torch.cat([own, own + (len(sources) - 1) * total][: len(anchors)]),
            anchor_groups=torch.cat([z.group(name) for name in anchors]),
            candidate_groups=torch.cat([world.gather(z.group(name)) for name in sources]),
            anchor_places=own.repeat(len(anchors)),
            candidate_places=torch.arange(total, device=device).repeat(len(sources)),
            candidate_partners=self._partners(z, world, total),
            census=self._census(len(z), total),
        )
        columns = torch.cat([own.new_full((total,), kind) for kind in kinds])
        table = table.weighted(exclude(self._hidden(table, columns, len(z)), table.dtype))
        return table.weighted(self._hardness(table, columns, len(z))) if self.hardness else table

    def _partners(self, z: Embeddings, world: World, total: int) -> Tensor:
        anchors, positives = (world.gather(z.group(name)) for name in (self.anchor, self.positive))
        nobody = torch.full((len(self.negatives) * total,), ABSENT, device=anchors.device)
        return torch.cat([anchors, nobody, *([positives] if self.terms else [])])

    def _hidden(
        self, table: Contrast, columns: Tensor, rows_of_batch: int
    ) -> Callable[[Tensor], Tensor]:
        """Mask of the cells that no term asks for, or that hold no text."""
        asked = _asked(frozenset(self.terms), columns.device)
        absent = table.candidate_groups == ABSENT

        def hidden(rows: Tensor) -> Tensor:
            second = (rows >= rows_of_batch).long()[:, None]
            return ~asked[second, columns, _own(table, rows).long()] | absent

        return hidden

    def _hardness(
        self, table: Contrast, columns: Tensor, rows_of_batch: int
    ) -> Callable[[Tensor], Tensor]:
        def weight(rows: Tensor) -> Tensor:
            own, first = _own(table, rows), (rows < rows_of_batch)[:, None]
            chosen = {
                "own": own & (columns == _NEGATIVE),
                "others": ~own & (columns != _ANCHOR),
                "all": (columns != _ANCHOR) & ~(own & (columns == _POSITIVE)),
            }[self.hardened]
            return self.hardness * table.similarity(rows).detach() * (chosen & first)

        return weight

    def _census(self, rows: int, total: int) -> dict[str, int]:
        hard = len(self.negatives)
        parts = {
            "in-batch": rows - 1,
            "gathered": total - rows,
            "hard": hard * total,
            "anchor_anchor": (total - 1) * ("anchor_anchor" in self.terms),
            "positive_anchor": (total - 1) * ("positive_anchor" in self.terms),
            "positive_positive": (total - 1) * ("positive_positive" in self.terms),
            "positive_negative": hard * (total - 1) * ("positive_negative" in self.terms)
            + hard * ("positive_own_negative" in self.terms),
        }
        return {kind: count for kind, count in parts.items() if count or kind == "in-batch"}


@lru_cache(maxsize=32)
def _asked(terms: frozenset[Term], device: torch.device) -> Bool[Tensor, "2 3 2"]:
    """Whether an anchor or a positive is contrasted with a kind of candidate, of another row or its own."""
    asked = torch.zeros((2, 3, 2), dtype=torch.bool)
    asked[0, :_ANCHOR] = True
    asked[0, _ANCHOR, 0] = "anchor_anchor" in terms
    asked[1, _ANCHOR] = "positive_anchor" in terms
    asked[1, _POSITIVE, 0] = "positive_positive" in terms
    asked[1, _NEGATIVE, 0] = "positive_negative" in terms
    asked[1, _NEGATIVE, 1] = "positive_own_negative" in terms
    return asked.to(device, non_blocking=True)


def _own(table: Contrast, rows: Tensor) -> Tensor:
    """Whether a candidate is of the anchor's own row."""
    assert table.anchor_places is not None
    assert table.candidate_places is not None
    return table.anchor_places[rows, None] == table.candidate_places


def only_own_row(contrast: Contrast, z: Embeddings) -> Contrast:
    """Takes the candidates of other rows out of the table: each anchor chooses among its own positive and negatives."""
    return contrast.weighted(exclude(lambda rows: ~_own(contrast, rows), contrast.dtype))
