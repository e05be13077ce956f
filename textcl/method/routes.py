"""Routes from views to encoders: all encoders of a method in one module, each called once a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from textcl.arithmetic import widen
from textcl.encoder.planning import plan_tokens
from textcl.types import Batch, Embeddings, Tokens


@dataclass(frozen=True)
class Route:
    """A view and the encoder that embeds it.

    Args:
        encoder: Name of an encoder of the method.
        view: Name of a view of the method.
    """

    encoder: str
    view: str


def plan_batch(
    encoders: Mapping[str, nn.Module],
    routes: Mapping[str, Route],
    batch: Batch,
    chunk: int = 0,
    *,
    rounded: bool = False,
) -> Batch:
    """A batch with all index work of its embedding done, for `Embedder`.

    Args:
        encoders: By name.
        routes: Which encoder and view give the embedding of each name.
        batch: On the CPU.
        chunk: Rows that are embedded at once; all for 0.
        rounded: Whether a whole batch shall have one of few different sizes.
    """
    if chunk:
        parts = tuple(plan_batch(encoders, routes, part) for part in batch.split(chunk))
        return replace(batch, chunks=parts)
    inputs: dict[str, Tokens] = {}
    for key, encoder in encoders.items():
        views = [route.view for route in routes.values() if route.encoder == key]
        if views:
            tokens = Tokens.concatenate([batch.tokens[view] for view in views])
            inputs[key] = plan_tokens(encoder, tokens, rounded=rounded)
    return replace(batch, inputs=inputs)


class Embedder(nn.Module):
    """All encoders of a method; each embeds its views in one concatenated call.

    Args:
        encoders: By name; modules from `Tokens` to (B, D).
        routes: Which encoder and view give the embedding of each name.
    """

    def __init__(self, encoders: Mapping[str, nn.Module], routes: Mapping[str, Route]) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(dict(encoders))
        self.routes = dict(routes)

    @property
    def trainable(self) -> list[str]:
        """Names whose encoder learns."""
        return [name for name, route in self.routes.items() if self._learns(route.encoder)]

    def _learns(self, encoder: str) -> bool:
        return any(p.requires_grad for p in self.encoders[encoder].parameters())

    def forward(
        self, batch: Batch, trainable_only: bool = False
    ) -> dict[str, Float[Tensor, "B _"]]:
        """Embeddings by name, float32 or wider.

        Encoders that learn run first: leaving the frozen ones out then draws the same dropout masks again.

        Args:
            batch: Rows to embed.
            trainable_only: Leave frozen encoders out.
        """
        learning = [key for key in self.encoders if self._learns(key)]
        frozen = [] if trainable_only else [key for key in self.encoders if key not in learning]
        vectors: dict[str, Tensor] = {}
        for key in learning + frozen:
            views = {name: r.view for name, r in self.routes.items() if r.encoder == key}
            if not views:
                continue
            tokens = batch.inputs.get(key)
            if tokens is None:
                tokens = Tokens.concatenate([batch.tokens[view] for view in views.values()])
            with torch.set_grad_enabled(torch.is_grad_enabled() and key in learning):
                parts = widen(self.encoders[key](tokens)).split(len(batch))
            vectors |= dict(zip(views, parts, strict=True))
        return vectors


def as_embeddings(
    vectors: Mapping[str, Tensor], batch: Batch, routes: Mapping[str, Route]
) -> Embeddings:
    """The vectors of a batch with all that comes with its rows."""
    groups = {name: batch.groups[routes[name].view] for name in vectors}
    return Embeddings(
        vectors, batch.rows, groups, batch.labels, batch.scores, batch.given, batch.items
    )
