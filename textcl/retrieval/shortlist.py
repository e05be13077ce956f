"""The best rows so far for every query, in flat memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from textcl.retrieval.limits import kth_largest
from textcl.retrieval.products import Pairs


@dataclass(frozen=True)
class Shortlist:
    """A list for every query, by ascending rows.

    Args:
        rows: Places in the corpus; −1 where a list has ended.
        scores: Their scores; −inf where a list has ended.
    """

    rows: Int[Tensor, "Q w"]
    scores: Float[Tensor, "Q w"]

    @classmethod
    def empty(cls, queries: Float[Tensor, "Q D"]) -> Shortlist:
        """Lists without a row."""
        none = queries.new_empty(len(queries), 0)
        return cls(none.long(), none)

    @classmethod
    def of(cls, queries: int, pairs: Pairs, scores: Float[Tensor, " P"], start: int) -> Shortlist:
        """Scored pairs as lists.

        Args:
            queries: How many there are.
            pairs: Of a block.
            scores: Of each pair.
            start: Place of the first row of the block.
        """
        counts = torch.bincount(pairs.query, minlength=queries)
        width = int(counts.max()) if queries else 0
        starts = counts.cumsum(0) - counts
        column = torch.arange(len(scores), device=scores.device) - starts[pairs.query]
        place = pairs.query * width + column

        def table(values: Tensor, rest: float) -> Tensor:
            whole = values.new_full((queries * width,), rest)
            return whole.index_copy_(0, place, values).view(queries, width)

        return cls(table(pairs.row + start, -1), table(scores, -torch.inf))

    @property
    def lengths(self) -> Int[Tensor, " Q"]:
        """Rows of every list."""
        return (self.rows >= 0).sum(dim=1)

    def kth(self, k: int) -> Float[Tensor, " Q"]:
        """A score that k rows of every list reach; −inf where a list is shorter."""
        if self.rows.shape[1] < k:
            return self.scores.new_full((len(self.scores),), -torch.inf)
        return kth_largest(self.scores, k)

    def joined(self, other: Shortlist) -> Shortlist:
        """Both together; the rows of the other are higher."""
        pairs = ((self.rows, other.rows), (self.scores, other.scores))
        return Shortlist(*(torch.cat(pair, dim=1) for pair in pairs))

    def of_these(self, queries: Bool[Tensor, " Q"]) -> Shortlist:
        """The lists of some queries."""
        return Shortlist(self.rows[queries], self.scores[queries])

    def replaced(self, queries: Bool[Tensor, " Q"], others: Shortlist) -> Shortlist:
        """Other lists for some queries."""
        width = max(self.rows.shape[1], others.rows.shape[1])
        own, new = self._widened(width), others._widened(width)
        place = queries.nonzero()[:, 0]
        return Shortlist(
            own.rows.index_copy(0, place, new.rows), own.scores.index_copy(0, place, new.scores)
        )

    def reaching(self, bound: Float[Tensor, " Q"]) -> Shortlist:
        """The rows whose score reaches the bound of their query."""
        kept = Pairs.of((self.scores >= bound[:, None]).logical_and_(self.rows >= 0))
        rows, scores = (part[kept.query, kept.row] for part in (self.rows, self.scores))
        return Shortlist.of(len(self.rows), Pairs(kept.query, rows), scores, 0)

    def best(self, k: int) -> Shortlist:
        """The k of the highest scores, best first; of equal ones, the lower place."""
        order = self.scores.argsort(dim=1, descending=True, stable=True)[:, :k]
        return Shortlist(self.rows.gather(1, order), self.scores.gather(1, order))

    def first(self, k: int) -> Shortlist:
        """The same by ascending rows."""
        best = self.best(k)
        last = torch.iinfo(best.rows.dtype).max
        order = best.rows.masked_fill(best.rows < 0, last).argsort(dim=1)
        return Shortlist(best.rows.gather(1, order), best.scores.gather(1, order))

    def _widened(self, width: int) -> Shortlist:
        """The lists in tables of so many columns."""
        more = (0, width - self.rows.shape[1])
        pad = torch.nn.functional.pad
        return Shortlist(pad(self.rows, more, value=-1), pad(self.scores, more, value=-torch.inf))
