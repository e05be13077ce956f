"""Nearest neighbours among texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int

from textcl import arithmetic

_TABLE = 2**24  # cosines held at once


def unit(vectors: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
    """Rows of length 1; a row of zeros stays."""
    return arithmetic.unit(torch.from_numpy(vectors)).numpy()


def distinct(texts: Sequence[str]) -> Int[np.ndarray, " n"]:
    """The first place of every distinct text."""
    first: dict[str, int] = {}
    for place, text in enumerate(texts):
        first.setdefault(text, place)
    return np.fromiter(first.values(), np.int64)


def nearest(
    units: Float[np.ndarray, "N D"], queries: Int[np.ndarray, " q"], k: int
) -> tuple[Int[np.ndarray, "q k"], Float[np.ndarray, "q k"]]:
    """The nearest other rows of some rows, by cosine; of equal ones, the first.

    Args:
        units: Unit vectors, no text twice.
        queries: Rows whose neighbours are wanted.
        k: How many; fewer where there are no more.
    """
    k = min(k, len(units) - 1)
    places: list[np.ndarray] = []
    cosines: list[np.ndarray] = []
    for block in np.array_split(queries, max(1, -(-len(queries) * len(units) // _TABLE))):
        table = units[block] @ units.T
        table[np.arange(len(block)), block] = -np.inf
        order = np.argsort(-table, axis=1, kind="stable")[:, :k]
        places.append(order)
        cosines.append(np.take_along_axis(table, order, 1))
    return np.concatenate(places), np.concatenate(cosines)


def drawn(count: int, most: int, seed: int) -> Int[np.ndarray, " n"]:
    """At most `most` of `count` places, in order; all where there are no more."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
