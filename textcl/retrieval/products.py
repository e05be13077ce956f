"""Dot products that decide a search: coarse ones rule rows out and cannot miss, exact ones order the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from textcl.encoder.precision import fast_bfloat16

Fetch = Callable[[Int[Tensor, " n"]], Float[Tensor, "n D"]]
"""Vectors of some rows of a corpus."""

_ROUNDING = (
    2.0**-8
)  # of bfloat16, the coarsest arithmetic that a product of float32 may be taken in
_FEW = 16  # queries for which the change to bfloat16 costs more than it saves
_WORTH_A_LOOK = 256  # queries for which it pays to look how much the rows lose by rounding
_MOST = 1e38  # beyond, sums may overflow
_TINY = 1e-35  # covers values that are flushed to zero
_SAFE = 1.01  # covers the rounding of the bound itself
_PAIRS = 512  # multiplied at once, few enough for the cache
_GATHERED = 1 << 16  # rows gathered at once on a GPU


def exact(queries: Float[Tensor, "Q D"], rows: Float[Tensor, "n D"]) -> Float[Tensor, "Q n"]:
    """All products, summed in float64 and rounded once, so that equal rows have equal scores wherever they stand."""
    return (queries.double() @ rows.double().T).to(queries.dtype)


def exact_pairs(queries: Float[Tensor, "P D"], rows: Float[Tensor, "P D"]) -> Float[Tensor, " P"]:
    """The product of row i of both, as of `exact`."""
    parts = zip(queries.split(_PAIRS), rows.split(_PAIRS), strict=True)
    return torch.cat([torch.linalg.vecdot(q.double(), r.double()).to(q.dtype) for q, r in parts])


def exact_lists(
    queries: Float[Tensor, "Q D"], rows: Int[Tensor, "Q w"], fetch: Fetch
) -> Float[Tensor, "Q w"]:
    """Products of every query with rows of its own, as of `exact`; −inf where its list has ended.

    Args:
        queries: Vectors.
        rows: Places in the corpus; −1 where a list has ended.
        fetch: Gives their vectors.
    """
    listed = rows >= 0
    table = queries.new_full(rows.shape, -torch.inf)
    if not len(queries):
        return table
    step = 1 if queries.device.type == "cpu" else max(1, _GATHERED // max(1, rows.shape[1]))
    counts = listed.sum(dim=1).split(step)
    sizes = [int(part.sum()) for part in counts] if step > 1 else torch.cat(counts).tolist()
    wide, parts = queries.double().split(step), rows[listed].split(sizes)
    scores = [
        _products(part, fetch(some).double(), count)
        for part, some, count in zip(wide, parts, counts, strict=True)
    ]
    return table.masked_scatter_(listed, torch.cat(scores).to(table.dtype))


def _products(
    queries: Float[Tensor, "Q D"], rows: Float[Tensor, "n D"], counts: Int[Tensor, " Q"]
) -> Float[Tensor, " n"]:
    """Products of each query with as many rows as it has."""
    if len(queries) == 1:
        return rows @ queries[0]
    return torch.linalg.vecdot(queries.repeat_interleave(counts, dim=0), rows)


@dataclass(frozen=True)
class Block:
    """Rows of a corpus that lie side by side.

    Args:
        rows: Their vectors, finite.
        start: Place of the first.
        longest: Norm of the longest.
        removed: Those that do not count; None where all do.
    """

    rows: Float[Tensor, "n D"]
    start: int
    longest: float
    removed: Bool[Tensor, " n"] | None

    @cached_property
    def low(self) -> Tensor:
        """The rows in bfloat16."""
        return self.rows.to(torch.bfloat16)

    @cached_property
    def lost(self) -> float:
        """Norm of the largest difference between a row and its form in bfloat16."""
        parts = zip(self.rows.split(_PAIRS), self.low.split(_PAIRS), strict=True)
        return max(float((rows - low).norm(dim=1).max()) for rows, low in parts)


@dataclass(frozen=True)
class Screen:
    """Queries whose products in fast arithmetic rule most rows out.

    Where q' and c' are the rounded forms of the vectors q and c, q·c and q'·c' differ by at most
    ‖q − q'‖·‖c‖ + ‖q'‖·‖c − c'‖, and a sum in float32 over D terms is off by at most D·2⁻²²·‖q‖·‖c‖.

    Args:
        queries: In float32 or wider.
    """

    queries: Float[Tensor, "Q D"]

    @cached_property
    def coarse(self) -> Tensor:
        """The queries in the fastest arithmetic of the device."""
        device = self.queries.device.type
        fast = device == "cpu" and len(self.queries) > _FEW and fast_bfloat16(device)
        return self.queries.to(torch.bfloat16) if fast else self.queries

    def products(self, block: Block) -> Float[Tensor, "Q n"] | None:
        """Coarse products, −inf for rows that do not count; None where they may overflow."""
        if not bool((self.norms * block.longest < _MOST).all()):
            return None
        rows = block.low if self._rounds else block.rows
        products = self.coarse @ rows.T
        return (
            products if block.removed is None else products.masked_fill_(block.removed, -torch.inf)
        )

    def error(self, block: Block) -> Float[Tensor, " Q"]:
        """Largest error of a coarse product of each query, but for its own rounding."""
        width = block.rows.shape[1]
        if self._rounds:
            many = len(self.queries) >= _WORTH_A_LOOK
            most = block.lost if many else _ROUNDING * block.longest
            lost = self._lost * block.longest + (self.norms + self._lost) * most
        else:  # a product of float32 may be rounded inside
            lost = 2 * _ROUNDING * self.norms * block.longest
        sums = width * 2.0**-22 * self.norms * block.longest
        return _SAFE * (lost + sums) + width * _TINY

    @property
    def _rounds(self) -> bool:
        return self.coarse.dtype == torch.bfloat16

    @cached_property
    def norms(self) -> Float[Tensor, " Q"]:
        """Of the queries."""
        return self.queries.norm(dim=1)

    @cached_property
    def _lost(self) -> Tensor:
        return (self.queries - self.coarse).norm(dim=1)


def rounding(products: Tensor) -> Tensor:
    """Largest error of products by their own rounding."""
    return products.abs() * (_SAFE * torch.finfo(products.dtype).eps / 2)


def at_least(products: Float[Tensor, "Q n"], limits: Float[Tensor, " Q"]) -> Bool[Tensor, "Q n"]:
    """Mask of the products that may have reached their query's limit before they were rounded; −inf never has."""
    low = torch.finfo(products.dtype).min
    limits = limits.to(products.dtype).clamp(min=low)[:, None]  # rounding keeps the order
    if products.device.type != "cpu":
        return products >= limits
    if products.dtype != torch.bfloat16:
        return torch.from_numpy(products.numpy() >= limits.numpy())
    # whole numbers in the order of bfloat16 are compared many times as fast
    numbers, least = products.view(torch.int16), limits.view(torch.int16)
    if not bool((limits > 0).all()):
        numbers, least = _ordered(numbers), _ordered(least)
        least = least - (least == 0).to(torch.int16)  # −0 is not below 0
    return torch.from_numpy(numbers.numpy() >= least.numpy())


def _ordered(bits: Tensor) -> Tensor:
    """The bits of bfloat16 as whole numbers of the same order, negative ones among them."""
    return bits ^ ((bits >> 15) & 0x7FFF)
