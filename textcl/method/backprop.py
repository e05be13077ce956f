"""Ways to obtain gradients: from the whole batch at once, or cached at the embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from textcl.method.generators import Generators
from textcl.method.routes import Embedder, Route, as_embeddings
from textcl.types import Batch, Embeddings, LossOutput

Backward = Callable[[Tensor], object]
"""Runs the backward pass of a loss (Accelerate's scales it and divides by the accumulation steps)."""


@runtime_checkable
class Backprop(Protocol):
    """Leaves the gradient of the loss in every parameter."""

    def __call__(
        self, embedder: nn.Module, objective: nn.Module, batch: Batch, backward: Backward
    ) -> tuple[LossOutput, Embeddings]:
        """Loss and detached embeddings of the batch.

        Args:
            embedder: An `Embedder`, or its distributed wrapper.
            objective: From embeddings to a loss.
            batch: Rows of this process.
            backward: Called once with the loss.
        """
        ...


class FullBatch:
    """One forward and one backward pass of the whole batch."""

    def __call__(
        self, embedder: nn.Module, objective: nn.Module, batch: Batch, backward: Backward
    ) -> tuple[LossOutput, Embeddings]:
        """See `Backprop`."""
        z = as_embeddings(embedder(batch), batch, routes_of(embedder))
        output: LossOutput = objective(z)
        backward(output.loss)
        return output, z.with_vectors({name: x.detach() for name, x in z.by_name.items()})


@dataclass(frozen=True)
class GradCache:
    """The gradient of the whole batch in the memory of one chunk.

    The batch is embedded chunk by chunk without a graph; the loss gives the gradient at the embeddings; each chunk is
    embedded again, with the generators set back so that dropout draws the same masks, and back-propagates its share.
    Exact as long as rows are independent in the encoder (no BatchNorm) and the objective sees embeddings only.

    Args:
        chunk_size: Rows embedded at once.

    Source: Gao et al. 2021, https://arxiv.org/abs/2101.06983
    """

    chunk_size: int

    def __call__(
        self, embedder: nn.Module, objective: nn.Module, batch: Batch, backward: Backward
    ) -> tuple[LossOutput, Embeddings]:
        """See `Backprop`."""
        chunks = list(batch.chunks or batch.split(self.chunk_size))
        states: list[Generators] = []
        parts: list[Mapping[str, Tensor]] = []
        with torch.no_grad():
            for chunk in chunks:
                states.append(Generators.now(chunk.rows.device))
                parts.append(embedder(chunk))
        trainable = unwrap(embedder).trainable
        vectors = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        leaves = {name: x.requires_grad_(name in trainable) for name, x in vectors.items()}
        z = as_embeddings(leaves, batch, routes_of(embedder))
        output: LossOutput = objective(z)
        backward(output.loss)

        gradients = {n: g for n in trainable if (g := leaves[n].grad) is not None}
        start = 0
        for index, (chunk, state) in enumerate(zip(chunks, states, strict=True)):
            # gradients of several processes are averaged once, with the last chunk
            with _no_sync(embedder) if index < len(chunks) - 1 else nullcontext(), state.replayed():
                again = embedder(chunk, trainable_only=True)
                pairs = [(again[n], g[start : start + len(chunk)]) for n, g in gradients.items()]
                # already scaled and divided when the loss was back-propagated: replayed as it is
                torch.autograd.backward([x for x, _ in pairs], [g for _, g in pairs])
            start += len(chunk)
        return output, z.with_vectors({name: x.detach() for name, x in leaves.items()})


def backprop_for(chunk_size: int) -> Backprop:
    """Gradient caching in chunks of this many rows; the whole batch at once for 0."""
    return GradCache(chunk_size) if chunk_size else FullBatch()


def unwrap(embedder: nn.Module) -> Embedder:
    """The embedder inside its distributed wrapper."""
    inner = getattr(embedder, "module", embedder)
    assert isinstance(inner, Embedder)
    return inner


def routes_of(embedder: nn.Module) -> Mapping[str, Route]:
    """The routes of an embedder or of its distributed wrapper."""
    return unwrap(embedder).routes


def _no_sync(embedder: nn.Module) -> AbstractContextManager[object]:
    no_sync = getattr(embedder, "no_sync", None)
    return no_sync() if no_sync is not None else nullcontext()
