"""Dot products that decide a search: coarse ones rule rows out and cannot miss, exact ones order the rest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from textcl.encoder.precision import fast_bfloat16

_ROUNDING = (
    2.0**-8
)  # of bfloat16, the coarsest arithmetic that a product of float32 may be taken in
_FEW = 16  # queries for which the change to bfloat16 costs more than it saves
_MOST = 1e38  # beyond, sums may overflow
_TINY = 1e-35  # covers values that are flushed to zero
_PAIRS = 512  # multiplied at once, few enough for the cache


def exact(queries: Float[Tensor, "Q D"], rows: Float[Tensor, "n D"]) -> Float[Tensor, "Q n"]:
    """All products, summed in float64 and rounded once, so that equal rows have equal scores wherever they stand."""
    return (queries.double() @ rows.double().T).to(queries.dtype)


def exact_pairs(queries: Float[Tensor, "P D"], rows: Float[Tensor, "P D"]) -> Float[Tensor, " P"]:
    """The product of row i of both, as of `exact`."""
    parts = zip(queries.split(_PAIRS), rows.split(_PAIRS), strict=True)
    return torch.cat([torch.linalg.vecdot(q.double(), r.double()).to(q.dtype) for q, r in parts])


@dataclass(frozen=True)
class Pairs:
    """Queries and rows by their places, in the order of the queries and then of the rows."""

    query: Int[Tensor, " P"]
    row: Int[Tensor, " P"]

    def without(self, queries: Bool[Tensor, " S"]) -> Pairs:
        """The pairs of the other queries, which are counted anew."""
        kept = ~queries[self.query]
        return Pairs((~queries).cumsum(0)[self.query[kept]] - 1, self.row[kept])


@dataclass(frozen=True)
class Screen:
    """Queries that products in fast arithmetic rule most rows out for.

    A product of vectors q and c that were rounded by a share u each, and summed in float32 over D terms, is off by at
    most (2u + D·2⁻²²)·‖q‖·‖c‖; the rounding of the product itself keeps the order.

    Args:
        queries: In float32.
    """

    queries: Float[Tensor, "Q D"]

    @cached_property
    def coarse(self) -> Tensor:
        """The queries in the fastest arithmetic of the device."""
        device = self.queries.device.type
        fast = device == "cpu" and len(self.queries) > _FEW and fast_bfloat16(device)
        return self.queries.to(torch.bfloat16) if fast else self.queries

    @cached_property
    def _norms(self) -> Tensor:
        return self.queries.norm(dim=1)

    def possible(
        self,
        rows: Float[Tensor, "n D"],
        longest: float,
        best: Float[Tensor, " Q"],
        removed: Bool[Tensor, " n"] | None,
    ) -> tuple[Int[Tensor, " S"], Pairs] | None:
        """Queries for which a row may score above `best`, and these rows by the place of the query among them.

        Nothing can be ruled out where it is None.

        Args:
            rows: A block of the corpus.
            longest: Norm of its longest row.
            best: Score of each query that a row must exceed.
            removed: Rows that do not count.
        """
        if not float(self._norms.max()) * longest < _MOST:
            return None
        width = rows.shape[1]
        share = 2.02 * _ROUNDING + width * 2.0**-22
        slack = share * longest * self._norms + width * _TINY
        products = self.coarse @ rows.to(self.coarse.dtype).T
        if removed is not None:
            products.masked_fill_(removed, float("-inf"))
        limits = (best - slack).to(products.dtype)
        places = (products.amax(dim=1) >= limits).nonzero()[:, 0]
        pairs = (products[places] >= limits[places, None]).nonzero(as_tuple=True)
        return places, Pairs(*pairs)
