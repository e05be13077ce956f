"""Coarse products, in the fastest arithmetic of the machine, which rule out rows and cannot miss one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Num
from torch import Tensor

from textcl.encoder.precision import fast_bfloat16, fast_int8
from textcl.retrieval.limits import as_numbers, kth_largest, lowest
from textcl.retrieval.rounded import Block, Rounded

_FEW = 16  # queries for which the change to bfloat16 costs more than it saves
_MANY = 192  # queries for which the change to whole numbers saves more than it costs
_FINE = 0.02  # of the longest row, what whole numbers may lose of any
_MOST = 1e38  # beyond, sums may overflow
_TINY = 1e-35  # covers values that are flushed to zero
_SAFE = 1.01  # covers the rounding of the bound itself
_SPREAD = 4
"""Groups of neighbours, times k, whose largest numbers bound the k-th largest of all."""


@dataclass(frozen=True)
class Coarse:
    """Coarse products of queries and the rows of a block.

    Args:
        numbers: Times the unit of its query, a product; the lowest number where the row does not count.
        unit: Of each query.
        error: How far a product of each query may be off before it is rounded.
    """

    numbers: Num[Tensor, "Q n"]
    unit: Float[Tensor, " Q"]
    error: Float[Tensor, " Q"]

    def reaching(self, scores: Float[Tensor, " Q"]) -> Num[Tensor, " Q"]:
        """The lowest number of every query whose score may be as high."""
        limits = (scores - self.error) / self.unit
        return as_numbers(limits.nan_to_num(nan=-torch.inf), self.numbers.dtype)

    def kth(self, k: int) -> Num[Tensor, " Q"] | None:
        """A number that k rows of every query reach, nearly the k-th largest; None where the block has fewer rows.

        It is that of the k-th best group of rows, which takes a fraction of the time.
        """
        width = self.numbers.shape[1]
        if width < k:
            return None
        size = max(1, width // (_SPREAD * k))
        groups = self.numbers[:, : width // size * size].unflatten(1, (size, -1))
        return kth_largest(groups.amax(dim=1), k)


@dataclass(frozen=True)
class Screen:
    """Queries in every arithmetic of coarse products.

    Where q' and c' are the rounded forms of the vectors q and c, q·c and q'·c' differ by at most
    ‖q − q'‖·‖c‖ + ‖q'‖·‖c − c'‖, and a sum in float32 over D terms is off by at most D·2⁻²²·‖q‖·‖c‖.

    Args:
        queries: In float32 or wider.
    """

    queries: Float[Tensor, "Q D"]

    def products(self, block: Block) -> Coarse:
        """Coarse products with the rows of a block; where they may overflow, of nothing, with an error without end."""
        if bool((self.norms * block.longest < _MOST).all()):
            own, rows = self._rounded(block)
            numbers, unit = _multiplied(own.numbers, rows.numbers), own.scale * rows.scale
            lost = own.lost * block.longest + (self.norms + own.lost) * rows.lost
            sums = len(block.rows[0]) * 2.0**-22 * self.norms * block.longest
            error = _SAFE * (lost + sums) + len(block.rows[0]) * _TINY
        else:
            shape = (len(self.queries), len(block.rows))
            numbers = torch.zeros(shape, dtype=torch.int8, device=block.rows.device)
            unit, error = torch.ones_like(self.norms), torch.full_like(self.norms, torch.inf)
        if block.removed is not None:
            numbers.masked_fill_(block.removed, lowest(numbers.dtype))
        return Coarse(numbers, unit, error)

    def _rounded(self, block: Block) -> tuple[Rounded, Rounded]:
        """Queries and rows in the fastest arithmetic that is fine enough."""
        if self._whole is not None and bool(block.whole.lost < _FINE * block.longest):
            return self._whole, block.whole
        if self._half is not None:
            return self._half, block.half
        return Rounded.given(self.queries, self.norms), block.given

    @cached_property
    def wide(self) -> Float[Tensor, "Q D"]:
        """The queries in float64."""
        return self.queries.double()

    @cached_property
    def norms(self) -> Float[Tensor, " Q"]:
        """Of the queries."""
        return self.queries.norm(dim=1)

    @cached_property
    def _whole(self) -> Rounded | None:
        pays = len(self.queries) >= _MANY and fast_int8(self.queries.device.type)
        return Rounded.whole(self.queries) if pays else None

    @cached_property
    def _half(self) -> Rounded | None:
        device = self.queries.device.type
        pays = device == "cpu" and len(self.queries) > _FEW and fast_bfloat16(device)
        return Rounded.half(self.queries, self.norms) if pays else None


def _multiplied(queries: Num[Tensor, "Q D"], rows: Num[Tensor, "n D"]) -> Num[Tensor, "Q n"]:
    if queries.dtype != torch.int8:
        return queries @ rows.T
    # torch has no public product of whole numbers that are summed in wider ones
    return torch._int_mm(queries, rows.T)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
