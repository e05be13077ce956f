"""Encoding over processes: each takes its share of the texts, and all get every vector."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from textcl.distributed import World


class SharedEncoder:
    """An encoder that is called with the same texts in every process and runs on a share of them in each.

    Everything but `encode`, `encode_query` and `encode_document` is the encoder's own.

    Args:
        encoder: Anything with `encode`, on the same weights in every process.
        world: The processes.
    """

    def __init__(self, encoder: Any, world: World) -> None:
        self._encoder, self._world = encoder, world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode(self, texts: Iterable[str], /, **options: Any) -> Float[np.ndarray, "N D"]:
        """Vectors of the texts, in the order given."""
        return self._shared(self._encoder.encode, texts, options)

    def encode_query(self, texts: Iterable[str], /, **options: Any) -> Float[np.ndarray, "N D"]:
        """Vectors of queries."""
        encode = getattr(self._encoder, "encode_query", self._encoder.encode)
        return self._shared(encode, texts, options)

    def encode_document(self, texts: Iterable[str], /, **options: Any) -> Float[np.ndarray, "N D"]:
        """Vectors of documents."""
        encode = getattr(self._encoder, "encode_document", self._encoder.encode)
        return self._shared(encode, texts, options)

    def _shared(
        self, encode: Any, texts: Iterable[str], options: dict[str, Any]
    ) -> Float[np.ndarray, "N D"]:
        whole, rank, size = list(texts), self._world.rank, self._world.size
        mine = torch.from_numpy(encode(whole[rank::size], **options))
        rows = self._world.gather(mine.to(getattr(self._encoder, "device", "cpu"))).cpu().numpy()
        order = np.concatenate([np.arange(len(whole))[start::size] for start in range(size)])
        vectors = np.empty_like(rows)
        vectors[order] = rows
        return vectors
