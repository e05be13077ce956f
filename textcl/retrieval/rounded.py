"""Vectors in the arithmetic that a machine multiplies fastest, with what they lose by it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor

_ROUNDING = 2.0**-8  # of bfloat16, the coarsest arithmetic of a product of float32
_CACHED = 1024  # rows rounded at once


@dataclass(frozen=True)
class Rounded:
    """Vectors in another arithmetic.

    Args:
        numbers: Times the scale, they are nearly the vectors.
        scale: Of each vector, or of all.
        lost: Norm of the difference to each vector, or of the largest.
    """

    numbers: Num[Tensor, "n D"]
    scale: Float[Tensor, " s"]
    lost: Float[Tensor, " s"]

    @classmethod
    def given(cls, vectors: Float[Tensor, "n D"], norms: Float[Tensor, " s"]) -> Rounded:
        """The vectors themselves, which a product may round inside."""
        return cls(vectors, vectors.new_ones(1), _ROUNDING * norms)

    @classmethod
    def half(cls, vectors: Float[Tensor, "n D"], norms: Float[Tensor, " s"]) -> Rounded:
        """In bfloat16."""
        return cls(vectors.to(torch.bfloat16), vectors.new_ones(1), _ROUNDING * norms)

    @classmethod
    def whole(cls, vectors: Float[Tensor, "n D"]) -> Rounded:
        """In whole numbers of one byte, each vector with a scale of its own."""
        scale = _scale(vectors.abs().amax(dim=1, keepdim=True))
        numbers = (vectors / scale).round_().to(torch.int8)
        return cls(numbers, scale[:, 0], (vectors - numbers * scale).norm(dim=1))

    @classmethod
    def whole_together(cls, vectors: Float[Tensor, "n D"]) -> Rounded:
        """In whole numbers of one byte with one scale."""
        scale = _scale(torch.stack([each.abs() for each in vectors.aminmax()]).max())
        numbers = torch.empty(vectors.shape, dtype=torch.int8, device=vectors.device)
        lost = scale.new_zeros(())
        for part, own in zip(vectors.split(_CACHED), numbers.split(_CACHED), strict=True):
            whole = (part / scale).round_()
            own.copy_(whole)
            lost = torch.maximum(lost, whole.mul_(scale).sub_(part).norm(dim=1).max())
        return cls(numbers, scale[None], lost[None])


def _scale(largest: Tensor) -> Tensor:
    return (largest / 127).clamp(min=torch.finfo(largest.dtype).tiny)


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
    def given(self) -> Rounded:
        """The rows themselves."""
        return Rounded.given(self.rows, self._norm)

    @cached_property
    def half(self) -> Rounded:
        """The rows in bfloat16."""
        return Rounded.half(self.rows, self._norm)

    @cached_property
    def whole(self) -> Rounded:
        """The rows in whole numbers."""
        return Rounded.whole_together(self.rows)

    @property
    def _norm(self) -> Tensor:
        return self.rows.new_tensor([self.longest])
