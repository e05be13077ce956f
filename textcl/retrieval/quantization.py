"""Vectors in a quarter (int8) or a thirty-second (bits) of their memory, searched and scored again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int8, UInt8
from torch import Tensor

from textcl.arithmetic import widen
from textcl.errors import UserError
from textcl.retrieval.search import Hits, rescored, search

_STEPS = 255
_LOWEST = -128
_POWERS = (128, 64, 32, 16, 8, 4, 2, 1)


@dataclass(frozen=True)
class Ranges:
    """Smallest and largest value of every dimension: what codes mean, to be stored beside them.

    Args:
        low: Value of the lowest code.
        high: Value of the highest; larger ones are clipped.

    Source: `quantize_embeddings` of sentence-transformers 6.2
    """

    low: Float[Tensor, " D"]
    high: Float[Tensor, " D"]

    @classmethod
    def of(cls, rows: Float[Tensor, "N D"]) -> Ranges:
        """The ranges of some rows; a hundred or more of the corpus give ranges that new rows seldom leave.

        Raises:
            UserError: If there are fewer than two rows, or one is not finite.
        """
        if len(rows) < 2:
            raise UserError(
                f"ranges are taken from at least two rows, got {len(rows)}: calibrate on more of the corpus"
            )
        if not rows.isfinite().all():
            raise UserError(
                "a vector to calibrate on is not finite: encode it again, or leave it out"
            )
        low, high = widen(rows).float().aminmax(dim=0)
        return cls(low, high)

    @property
    def step(self) -> Float[Tensor, " D"]:
        """Width of a code; 1 for a constant dimension."""
        step = (self.high - self.low) / _STEPS
        return torch.where(step == 0, torch.ones_like(step), step)

    def encode(self, rows: Float[Tensor, "N D"]) -> Int8[Tensor, "N D"]:
        """Codes from -128 to 127, rounded down."""
        codes = ((rows.float() - self.low) / self.step).floor().clamp(0, _STEPS)
        return (codes + _LOWEST).to(torch.int8)

    def decode(self, codes: Int8[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """The lower edge of every code, in float32."""
        return (codes.float() - _LOWEST) * self.step + self.low


def to_bits(rows: Float[Tensor, "N D"]) -> UInt8[Tensor, "N C"]:
    """One bit a dimension, 1 for a positive value; the first in the highest bit, the last byte padded with 0."""
    positive = torch.nn.functional.pad((rows > 0).to(torch.uint8), (0, -rows.shape[1] % 8))
    powers = torch.tensor(_POWERS, dtype=torch.uint8, device=rows.device)
    return (positive.reshape(len(rows), positive.shape[1] // 8, 8) * powers).sum(
        2, dtype=torch.uint8
    )


def from_bits(codes: UInt8[Tensor, "N C"], dimension: int) -> Float[Tensor, "N D"]:
    """The bits as 0 and 1 in float32, without the padding."""
    powers = torch.tensor(_POWERS, dtype=torch.uint8, device=codes.device)
    bits = (codes[:, :, None] & powers) != 0
    return bits.reshape(len(codes), codes.shape[1] * 8)[:, :dimension].float()


def search_int8(
    queries: Float[Tensor, "Q D"],
    codes: Int8[Tensor, "N D"],
    ranges: Ranges,
    k: int,
    multiplier: int = 2,
) -> Hits:
    """The k best of an int8 corpus: k × multiplier by products of codes, scored again with decoded rows.

    Products of codes take all dimensions as of one range. `search(queries, codes, k, ranges.decode)` does not, and is
    exact for what the codes hold.

    Args:
        queries: Float vectors.
        codes: The corpus, encoded with `ranges`.
        ranges: What the codes mean; never those of the queries.
        k: How many.
        multiplier: Times k that are scored again.
    """
    coarse = ranges.encode(queries).float()
    return rescored(
        queries, search(coarse, codes, k * multiplier, Tensor.float), codes, k, ranges.decode
    )


def search_bits(
    queries: Float[Tensor, "Q D"],
    codes: UInt8[Tensor, "N C"],
    k: int,
    multiplier: int = 4,
) -> Hits:
    """The k best of a binary corpus: k × multiplier by Hamming distance, scored again as query · bits.

    Args:
        queries: Float vectors.
        codes: The corpus as bits.
        k: How many.
        multiplier: Times k that are scored again.
    """
    dimension = queries.shape[1]
    near = nearest_bits(to_bits(queries), codes, k * multiplier, dimension)
    return rescored(queries, near, codes, k, lambda rows: from_bits(rows, dimension))


def nearest_bits(
    queries: UInt8[Tensor, "Q C"],
    codes: UInt8[Tensor, "N C"],
    k: int,
    dimension: int,
    removed: Bool[Tensor, " N"] | None = None,
) -> Hits:
    """The k rows with the fewest differing bits; a score is minus their number.

    Args:
        queries: Bits of the queries.
        codes: Bits of the corpus.
        k: How many.
        dimension: Bits without the padding.
        removed: Rows of the corpus that are never among the nearest.
    """

    def signs(rows: Tensor) -> Tensor:
        return 2 * from_bits(rows, dimension) - 1

    hits = search(signs(queries), codes, k, decode=signs, removed=removed)
    return Hits(hits.rows, (hits.scores - dimension) / 2)
