"""The rows of a corpus that may be among the best for some queries, block after block."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from textcl.retrieval.products import Block, Fetch, Screen, at_least, exact, exact_lists, rounding
from textcl.retrieval.shortlist import Pairs, Shortlist, kth_of_block

_KEPT, _KEPT_LEAST = 4, 512
"""Rows that a list may grow to, times k and at least, before whole blocks are scored exactly instead."""


@dataclass(frozen=True)
class Candidates:
    """Rows that may be among the best after a part of a corpus.

    Args:
        screen: The queries.
        lists: Rows of each, with bounds on their scores.
        k: How many are wanted.
        fetch: Gives vectors of the corpus.
        bound: A score that k rows of every query reach; None where there are fewer.
    """

    screen: Screen
    lists: Shortlist
    k: int
    fetch: Fetch
    bound: Float[Tensor, " Q"] | None = None

    def after(self, block: Block) -> Candidates:
        """After one more block."""
        products = self.screen.products(block)
        if products is None:
            return self._scored(self.screen.norms >= 0, block)
        error = self.screen.error(block)
        pairs = Pairs.of(at_least(products, self._bound(products, error) - error))
        counts = self.lists.lengths + torch.bincount(pairs.query, minlength=len(products))
        many = counts > max(_KEPT * self.k, _KEPT_LEAST)
        crowded = bool(many.any())
        more = pairs.without(many) if crowded else pairs
        after = self._with(self.lists.joined(more.listed(products, error, block.start)))
        return after._scored(many, block) if crowded else after

    def best(self, k: int) -> tuple[Int[Tensor, "Q k"], Float[Tensor, "Q k"]]:
        """Rows and scores of the best of all, best first; of equal scores, the lower place."""
        lists = self._exact(self.screen.queries, self.lists)
        order = lists.low.argsort(dim=1, descending=True, stable=True)[:, :k]
        return lists.rows.gather(1, order), lists.low.gather(1, order)

    def _bound(self, products: Tensor, error: Tensor) -> Tensor:
        """A score that k rows of every query reach: those before, or else those of the block."""
        if self.bound is not None:
            return self.bound
        least = kth_of_block(products, self.k)
        if least is None:
            return torch.full_like(error, -torch.inf)
        return least.to(error.dtype) - rounding(least).to(error.dtype) - error

    def _scored(self, chosen: Bool[Tensor, " Q"], block: Block) -> Candidates:
        """With exact scores for some queries, for which too many rows of the block may be among the best."""
        queries = self.screen.queries[chosen]
        products = exact(queries, block.rows)
        if block.removed is not None:
            products.masked_fill_(block.removed, -torch.inf)
        places = _highest(products, min(self.k, products.shape[1]))
        scores = products.gather(1, places)
        rows = places + block.start
        if block.removed is not None:
            rows = rows.masked_fill(block.removed[places], -1)
        before = self._exact(queries, self.lists.of(chosen))
        after = before.joined(Shortlist(rows, scores, scores)).best(self.k)
        return self._with(self.lists.replaced(chosen, after))

    def _with(self, lists: Shortlist) -> Candidates:
        """With other lists, without the rows that k others are better than."""
        bound = lists.kth(self.k)
        return replace(self, lists=lists.above(bound), bound=bound)

    def _exact(self, queries: Tensor, lists: Shortlist) -> Shortlist:
        scores = exact_lists(queries, lists.rows, self.fetch)
        return Shortlist(lists.rows, scores, scores)


def _highest(scores: Tensor, k: int) -> Tensor:
    """Places of the k highest by ascending place; of those that tie at the edge, the lowest."""
    values, places = scores.topk(k, dim=1)
    tied = ((scores >= values[:, -1:]).sum(dim=1) > k).nonzero()[:, 0]
    if len(tied):
        places[tied] = scores[tied].argsort(dim=1, descending=True, stable=True)[:, :k]
    return places.sort(dim=1).values
