"""Rows that may be among the best for every query, between bounds on their scores, in flat memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from textcl.retrieval.products import rounding

_SPREAD = 4
"""Groups of neighbours, times k, whose largest products bound the k-th largest of all."""


@dataclass(frozen=True)
class Shortlist:
    """A list for every query, by ascending rows.

    Args:
        rows: Places in the corpus; −1 where a list has ended.
        low: The score is at least this; −inf where a list has ended.
        high: The score is at most this; −inf where a list has ended.
    """

    rows: Int[Tensor, "Q w"]
    low: Float[Tensor, "Q w"]
    high: Float[Tensor, "Q w"]

    @classmethod
    def empty(cls, queries: Float[Tensor, "Q D"]) -> Shortlist:
        """Lists without a row."""
        none = queries.new_empty(len(queries), 0)
        return cls(none.long(), none, none)

    @property
    def lengths(self) -> Int[Tensor, " Q"]:
        """Rows of every list."""
        return (self.rows >= 0).sum(dim=1)

    def kth(self, k: int) -> Float[Tensor, " Q"] | None:
        """A score that k rows of every list reach; None where a list is shorter."""
        enough = self.rows.shape[1] >= k
        return _kth_largest(self.low, k) if enough else None

    def of(self, queries: Bool[Tensor, " Q"]) -> Shortlist:
        """The lists of some queries."""
        return Shortlist(self.rows[queries], self.low[queries], self.high[queries])

    def replaced(self, queries: Bool[Tensor, " Q"], others: Shortlist) -> Shortlist:
        """Other lists for some queries."""
        width = max(self.rows.shape[1], others.rows.shape[1])
        tables = [part.widened(width) for part in (self, others)]
        place = queries.nonzero()[:, 0]
        return Shortlist(
            tables[0].rows.index_copy(0, place, tables[1].rows),
            tables[0].low.index_copy(0, place, tables[1].low),
            tables[0].high.index_copy(0, place, tables[1].high),
        )

    def joined(self, other: Shortlist) -> Shortlist:
        """Both together; the rows of the other are higher."""
        pairs = ((self.rows, other.rows), (self.low, other.low), (self.high, other.high))
        return Shortlist(*(torch.cat(pair, dim=1) for pair in pairs))

    def above(self, bound: Float[Tensor, " Q"] | None) -> Shortlist:
        """The rows whose score may reach the bound of their query."""
        if bound is None:
            return self
        query, column = (
            (self.high >= bound[:, None]).logical_and(self.rows >= 0).nonzero(as_tuple=True)
        )
        own = (part[query, column] for part in (self.rows, self.low, self.high))
        return _listed(len(bound), query, *own)

    def best(self, k: int) -> Shortlist:
        """The k of the highest bounds; of equal ones, those listed first."""
        order = (self.rows < 0).to(torch.int8).argsort(dim=1, stable=True)
        high = self.high.gather(1, order)
        order = order.gather(1, high.argsort(dim=1, descending=True, stable=True)[:, :k])
        rows = self.rows.gather(1, order)
        last = torch.iinfo(rows.dtype).max
        order = order.gather(1, rows.masked_fill(rows < 0, last).argsort(dim=1))
        return Shortlist(*(part.gather(1, order) for part in (self.rows, self.low, self.high)))

    def widened(self, width: int) -> Shortlist:
        """The lists in a table of so many columns."""
        more = width - self.rows.shape[1]
        pad = torch.nn.functional.pad
        low, high = (pad(each, (0, more), value=-torch.inf) for each in (self.low, self.high))
        return Shortlist(pad(self.rows, (0, more), value=-1), low, high)


@dataclass(frozen=True)
class Pairs:
    """Queries and rows of a block by their places, in the order of the queries and then of the rows."""

    query: Int[Tensor, " P"]
    row: Int[Tensor, " P"]

    @classmethod
    def of(cls, wanted: Bool[Tensor, "Q n"]) -> Pairs:
        """The places that are true."""
        if wanted.device.type == "cpu":  # several times as fast as `nonzero`
            flat = torch.from_numpy(np.flatnonzero(wanted.numpy()))
        else:
            flat = wanted.flatten().nonzero()[:, 0]
        query = flat // max(1, wanted.shape[1])
        return cls(query, flat - query * wanted.shape[1])

    def without(self, queries: Bool[Tensor, " Q"]) -> Pairs:
        """The shortlist of the other queries."""
        kept = ~queries[self.query]
        return Pairs(self.query[kept], self.row[kept])

    def listed(
        self, products: Float[Tensor, "Q n"], error: Float[Tensor, " Q"], start: int
    ) -> Shortlist:
        """The rows as lists.

        Args:
            products: Coarse ones of the block.
            error: How far those of a query may be off before they are rounded.
            start: Place of the first row.
        """
        coarse = products[self.query, self.row]
        slack = error[self.query] + rounding(coarse)
        wide = coarse.to(error.dtype)
        return _listed(len(products), self.query, self.row + start, wide - slack, wide + slack)


def kth_of_block(products: Float[Tensor, "Q n"], k: int) -> Float[Tensor, " Q"] | None:
    """A product that k rows of a block reach for every query; None where it has fewer rows.

    It is that of the k-th best group of rows, which is nearly the k-th best of all at a fraction of the time.
    """
    width = products.shape[1]
    if width < k:
        return None
    size = max(1, width // (_SPREAD * k))
    best = products[:, : width // size * size].unflatten(1, (size, -1)).amax(dim=1)
    return _kth_largest(best, k)


def _kth_largest(table: Float[Tensor, "Q w"], k: int) -> Float[Tensor, " Q"]:
    """The k-th largest value of every row."""
    if table.device.type != "cpu":
        return table.topk(k, dim=1).values[:, -1]
    wide = table if table.dtype == torch.float64 else table.float()
    place = wide.shape[1] - k
    values = np.partition(wide.numpy(), place, axis=1)[:, place]  # ten times as fast as `topk`
    return torch.from_numpy(values.copy()).to(table.dtype)


def _listed(queries: int, query: Tensor, rows: Tensor, low: Tensor, high: Tensor) -> Shortlist:
    """Rows with their queries, in ascending order of these, as lists."""
    counts = torch.bincount(query, minlength=queries)
    width = int(counts.max()) if queries else 0
    column = torch.arange(len(query), device=query.device) - (counts.cumsum(0) - counts)[query]
    place = query * width + column

    def table(values: Tensor, rest: float) -> Tensor:
        whole = values.new_full((queries * width,), rest)
        return whole.index_copy_(0, place, values).view(queries, width)

    return Shortlist(table(rows, -1), table(low, -torch.inf), table(high, -torch.inf))
