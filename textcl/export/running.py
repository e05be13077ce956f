"""An exported graph while it runs: padded batches in, vectors out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from textcl.encoder.packing.padded import padded_batches
from textcl.encoder.precision import check_precision, fast_bfloat16
from textcl.errors import UserError
from textcl.export.backends import Padded, Run, find_backend
from textcl.export.folder import Export
from textcl.types import Tokens

BATCH_TOKENS = 1024
"""Positions of a batch; the best of 512, 1024 and 2048 where it was measured, on a wide plateau."""


class Graph:
    """Tokens to vectors by the graph of an export, which is loaded once for each precision.

    Args:
        folder: What `textcl export` wrote.
        export: What the folder says.

    Raises:
        UserError: If the packages of its backend are not installed.
    """

    def __init__(self, folder: Path, export: Export) -> None:
        self.folder, self.export = folder, export
        self.backend = find_backend(export.backend)
        self._runs: dict[str, Run] = {}

    def precision(self, asked: str | None) -> str:
        """The arithmetic of the graph: what is asked for, else bfloat16 where the backend and the machine are fast.

        Raises:
            UserError: If the backend does not run in it.
        """
        check_precision(asked)
        known = self.backend.PRECISIONS
        if asked is None:
            fast = "bfloat16" in known and fast_bfloat16("cpu")
            return "bfloat16" if fast else "float32"
        if asked not in known:
            raise UserError(
                f"the backend {self.export.backend!r} runs in {' or '.join(known)}, not in {asked}"
            )
        return asked

    def vectors(
        self,
        tokens: Tokens,
        precision: str,
        batch_tokens: int | None,
        advance: Callable[[int], None],
    ) -> Float32[Tensor, "B D"]:
        """Vectors of rows in their order, run in batches of rows of similar length.

        Args:
            tokens: The rows.
            precision: As `precision` gives it.
            batch_tokens: Most positions of a batch; `BATCH_TOKENS` when None.
            advance: Called with the rows of each batch that is done.

        Raises:
            UserError: If the file of the graph is missing or damaged.
        """
        order = torch.argsort(tokens.lengths, stable=True)
        vectors = np.empty((len(tokens), self.export.dimension), np.float32)
        rows = order.numpy()

        def receive(start: int, stop: int, batch: Float32[np.ndarray, "R D"]) -> None:
            vectors[rows[start:stop]] = batch
            advance(stop - start)

        batches = padded(tokens.take(order), self.export.pad_id, batch_tokens or BATCH_TOKENS)
        self._run(precision)(batches, receive)
        return torch.from_numpy(vectors)

    def _run(self, precision: str) -> Run:
        if precision not in self._runs:
            graph = self.folder / self.backend.FILE
            try:
                self._runs[precision] = self.backend.load(graph, precision)
            except Exception as error:  # each backend has exceptions of its own
                fault = " ".join(str(error).split())
                raise UserError(
                    f"{graph} is missing or damaged: export the model again ({fault:.200})"
                ) from error
        return self._runs[precision]


def padded(tokens: Tokens, pad_id: int, budget: int) -> Iterator[Padded]:
    """Batches of rows that are sorted by length."""
    for start, stop in padded_batches(tokens.lengths.tolist(), smallest=8, budget=budget):
        ids, mask = tokens.rows(start, stop).padded(pad_id)
        yield Padded(start, stop, ids.numpy(), mask.long().numpy())
