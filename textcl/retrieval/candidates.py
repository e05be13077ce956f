"""The best rows of a corpus for some queries, block after block."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor

from textcl.retrieval.limits import at_least
from textcl.retrieval.products import Pairs, exact, exact_some
from textcl.retrieval.rounded import Block
from textcl.retrieval.screen import Screen
from textcl.retrieval.shortlist import Shortlist

_KEPT, _KEPT_LEAST = 4, 512
"""Rows that a list may grow to, times k and at least, before all rows of a block are scored instead."""


@dataclass(frozen=True)
class Candidates:
    """The best rows after a part of a corpus.

    Args:
        screen: The queries.
        lists: The best rows of each, and those that equal the last of them.
        k: How many are wanted.
        bound: A score that k rows of every query reach; −inf where there are fewer.
    """

    screen: Screen
    lists: Shortlist
    k: int
    bound: Float[Tensor, " Q"]

    @classmethod
    def none(cls, queries: Float[Tensor, "Q D"], k: int) -> Candidates:
        """Before the first block."""
        screen = Screen(queries)
        return cls(
            screen, Shortlist.empty(queries), k, screen.norms.new_full((len(queries),), -torch.inf)
        )

    def after(self, block: Block) -> Candidates:
        """After one more block."""
        coarse, bound = self.screen.products(block), self.bound
        if not bool(bound.isfinite().all()) and (kth := coarse.kth(self.k)) is not None:
            bound = self._with(block, bound, coarse.numbers, kth).bound
        return self._with(block, bound, coarse.numbers, coarse.reaching(bound))

    def _with(
        self,
        block: Block,
        bound: Float[Tensor, " Q"],
        numbers: Num[Tensor, "Q n"],
        least: Num[Tensor, " Q"],
    ) -> Candidates:
        """With the rows of a block whose number is at least as high and whose score reaches the bound."""
        pairs = Pairs.of(at_least(numbers, least))
        counts = self.lists.lengths + torch.bincount(pairs.query, minlength=len(bound))
        many = counts > max(_KEPT * self.k, _KEPT_LEAST)
        crowded = bool(many.any())
        if crowded:
            pairs = pairs.these((~many[pairs.query]).nonzero()[:, 0])
        scores = exact_some(self.screen.wide, block.rows, pairs).to(bound.dtype)
        good = (scores >= bound[pairs.query]).nonzero()[:, 0]
        more = Shortlist.of(len(bound), pairs.these(good), scores[good], block.start)
        after = self._cut(self.lists.joined(more))
        return after._scored(many, block) if crowded else after

    def _scored(self, chosen: Bool[Tensor, " Q"], block: Block) -> Candidates:
        """With all rows of the block for some queries, for which too many of them may be among the best."""
        scores = exact(self.screen.queries[chosen], block.rows)
        if block.removed is not None:
            scores.masked_fill_(block.removed, -torch.inf)
        places = _highest(scores, min(self.k, scores.shape[1]))
        rows = places + block.start
        if block.removed is not None:
            rows = rows.masked_fill(block.removed[places], -1)
        before = self.lists.of_these(chosen)
        after = before.joined(Shortlist(rows, scores.gather(1, places))).first(self.k)
        return self._cut(self.lists.replaced(chosen, after))

    def _cut(self, lists: Shortlist) -> Candidates:
        bound = lists.kth(self.k)
        return replace(self, lists=lists.reaching(bound), bound=bound)


def _highest(scores: Tensor, k: int) -> Tensor:
    """Places of the k highest by ascending place; of those that tie at the edge, the lowest."""
    values, places = scores.topk(k, dim=1)
    tied = ((scores >= values[:, -1:]).sum(dim=1) > k).nonzero()[:, 0]
    if len(tied):
        places[tied] = scores[tied].argsort(dim=1, descending=True, stable=True)[:, :k]
    return places.sort(dim=1).values
