"""Closeness of an exported graph to the vectors of torch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

LOWEST_COSINE: Mapping[str, float] = {"float32": 0.9999, "bfloat16": 0.999, "int8": 0.95}
"""Lowest `closeness` to the float32 vectors of torch that is accepted, by the arithmetic of the graph."""


def closeness(
    vectors: Float[np.ndarray, "N D"], exact: Float[np.ndarray, "N D"]
) -> Float[np.ndarray, " N"]:
    """Cosine of each vector to the exact one, lowered where their lengths differ: 1 − |a − b|² / (2 |a| |b|)."""
    a, b = vectors.astype(np.float64), exact.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return 1 - np.square(a - b).sum(1) / (2 * np.maximum(lengths, 1e-12))
