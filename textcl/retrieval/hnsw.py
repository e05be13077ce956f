"""The graph of an approximate search: HNSW of usearch, whose answers are scored again with the stored vectors."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from textcl.errors import UserError

_NEIGHBOURS, _WIDTH = 16, 128
_BLOCK = 16_384


class Graph:
    """Rows by closeness; a graph that was changed is saved under a new name.

    Args:
        graph: Of usearch.

    Source: Malkov and Yashunin 2016, https://arxiv.org/abs/1603.09320
    """

    def __init__(self, graph: Any) -> None:
        self._graph = graph

    @classmethod
    def empty(cls, dimension: int) -> Graph:
        """A graph without a row.

        Raises:
            UserError: If usearch is not installed.
        """
        return cls(
            _usearch().Index(
                ndim=dimension,
                metric="ip",
                dtype="f16",
                connectivity=_NEIGHBOURS,
                expansion_add=_WIDTH,
                expansion_search=_WIDTH,
            )
        )

    @classmethod
    def load(cls, path: Path, dimension: int, *, change: bool = False) -> Graph:
        """A saved graph.

        Args:
            path: Its file.
            dimension: Numbers of a vector.
            change: Whether it will be changed; one that only answers is mapped, not read.

        Raises:
            UserError: If usearch is not installed, or the file is damaged.
        """
        try:
            graph = _usearch().Index.restore(path, view=not change)
        except (RuntimeError, ValueError, OSError) as error:
            raise UserError(
                f"{path} is no intact graph ({error}): build the index again"
            ) from error
        if graph is None or graph.ndim != dimension:
            raise UserError(f"{path} is no intact graph: build the index again")
        graph.expansion_search = _WIDTH
        return cls(graph)

    def add(self, start: int, vectors: Tensor) -> None:
        """Add stored vectors as the rows from `start` on."""
        for block in vectors.split(_BLOCK):
            rows = np.arange(start, start + len(block), dtype=np.uint64)
            self._graph.add(rows, block.float().numpy())
            start += len(block)

    def remove(self, rows: Iterable[int]) -> None:
        """Take rows out."""
        self._graph.remove(np.fromiter(rows, np.uint64))

    def save(self, path: Path) -> None:
        """Write it to a new file."""
        self._graph.save(path)

    def search(self, queries: Float[Tensor, "Q D"], k: int) -> list[Int[Tensor, " _"]]:
        """About the k nearest rows of every query, in no order; fewer where the walk ends early."""
        if not len(queries):
            return []
        self._graph.expansion_search = max(_WIDTH, 2 * k)
        matches = self._graph.search(queries.numpy(), k)
        keys = matches.keys.reshape(len(queries), -1).astype(np.int64)
        counts = np.atleast_1d(matches.counts) if hasattr(matches, "counts") else [keys.shape[1]]
        return [torch.from_numpy(row[:count]) for row, count in zip(keys, counts, strict=True)]


def _usearch() -> ModuleType:
    try:
        from usearch import index
    except ImportError:
        raise UserError(
            "an HNSW index needs usearch: pip install 'textcl-train[hnsw]', or take --index exact"
        ) from None
    return index
