"""Method: the composition that a recipe builds."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from textcl.encoder.encoder import Encoder
from textcl.encoder.reader import Reader
from textcl.errors import RunError
from textcl.method.backprop import Backprop, FullBatch, GradCache
from textcl.method.graphs import Graphs
from textcl.method.hooks import Hook
from textcl.method.routes import Embedder, Route, plan_batch
from textcl.types import Batch, Embeddings
from textcl.views.view import View


@dataclass(frozen=True)
class Method:
    """Views × encoders × objective × hooks × backprop, checked once when it is built.

    Args:
        views: What a row looks like, by name.
        encoders: Who embeds; `encoders["online"]` is the one that learns and outlives the training.
        routes: Which encoder and view make the embeddings of each name that the objective reads.
        objective: From embeddings to a loss.
        hooks: State changes outside the optimizer, in this order.
        state: Modules that belong to the run and to no encoder or objective: queues, prototypes.
        backprop: How gradients are obtained.
        model: What is scored and saved, made of the parts above; the online encoder when None.
        rates: Parts of the objective or the encoders whose highest learning rate is one of their own, and that rate.
        read_by: Views that are read as another encoder than the online one reads: with its tokenizer, prompts and
            longest row.
        similarity: Measure that the objective trains, by which the saved model compares; that of the start model when
            None.

    Raises:
        RunError: If a route names an encoder or view that is not there, or the objective reads what no route gives.
    """

    views: Mapping[str, View]
    encoders: Mapping[str, nn.Module]
    routes: Mapping[str, Route]
    objective: nn.Module
    hooks: Sequence[Hook] = ()
    state: Mapping[str, nn.Module] = field(default_factory=dict[str, nn.Module])
    backprop: Backprop = field(default_factory=FullBatch)
    model: nn.Module | None = None
    rates: Sequence[tuple[nn.Module, float]] = ()
    read_by: Mapping[str, Encoder] = field(default_factory=dict[str, Encoder])
    similarity: str | None = "cosine"

    def __post_init__(self) -> None:
        if "online" not in self.encoders:
            raise RunError(f"a method needs an encoder 'online', it has {_list(self.encoders)}")
        for name, route in self.routes.items():
            for kind, wanted, known in (
                ("encoder", route.encoder, self.encoders),
                ("view", route.view, self.views),
            ):
                if wanted not in known:
                    raise RunError(
                        f"route '{name}' names {kind} '{wanted}', not among {_list(known)}"
                    )

    @property
    def trained(self) -> nn.Module:
        """The encoder that is scored and saved, or the classifier around it."""
        return self.encoders["online"] if self.model is None else self.model

    @property
    def roles(self) -> tuple[str, ...]:
        """The text columns that the views read."""
        return tuple(dict.fromkeys(view.column for view in self.views.values()))

    def readers(self, max_length: int) -> dict[str, Reader]:
        """The reader of each view: its texts to tokens, with its prompt in front.

        Args:
            max_length: Most tokens of a row, for views that name no length of their own.

        Raises:
            UserError: If the encoder has no such prompt, or does not take such long rows.
        """
        return {
            name: self.read_by[name].reader(prompt=view.prompt)
            if name in self.read_by
            else online_of(self).reader(
                prompt=view.prompt, max_length=view.max_length or max_length
            )
            for name, view in self.views.items()
        }

    def plan(self, batch: Batch) -> Batch:
        """A batch with all index work of its embedding done; in any thread.

        Args:
            batch: On the CPU.
        """
        chunk = self.backprop.chunk_size if isinstance(self.backprop, GradCache) else 0
        rounded = isinstance(self.backprop, Graphs)
        return plan_batch(self.encoders, self.routes, batch, chunk, rounded=rounded)

    def embedder(self) -> Embedder:
        """All encoders in one module."""
        return Embedder(self.encoders, self.routes)

    def rehearse(
        self,
        rows: int,
        labels: Tensor | None = None,
        scores: Tensor | None = None,
        given: Mapping[str, Tensor] | None = None,
        first: int = 0,
    ) -> dict[str, float]:
        """Names of what the objective logs, from a call on random embeddings of `rows` rows.

        Where several processes train, all of them must call it.

        Args:
            rows: Rows of this process.
            labels: Their labels.
            scores: Their gold scores.
            given: What else comes with them.
            first: Index of the first of them among the rows of all processes.

        Returns:
            Terms by name.

        Raises:
            RunError: If the objective reads a name that no route gives.
        """
        generator = torch.Generator().manual_seed(0)
        vectors = {
            name: torch.randn((rows, self._width(route)), generator=generator)
            for name, route in self.routes.items()
        }
        index = torch.arange(first, first + rows)
        z = Embeddings(vectors, index, labels=labels, scores=scores, given=given or {})
        stateful = [self.objective, *self.state.values()]
        before = [copy.deepcopy(module.state_dict()) for module in stateful]
        try:
            with torch.no_grad():
                output = self.objective(z)
        except KeyError as error:
            raise RunError(f"{error.args[0]}: add a route, or name another embedding") from None
        finally:  # seeded draws have advanced
            for module, state in zip(stateful, before, strict=True):
                module.load_state_dict(state)
        return {name: float(term) for name, term in output.terms.items()}

    def _width(self, route: Route) -> int:
        return int(getattr(self.encoders[route.encoder], "dimension", 8))


def _list(names: Mapping[str, object]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def online_of(method: Method) -> Encoder:
    """The encoder of a method that outlives the training."""
    online = method.encoders["online"]
    assert isinstance(online, Encoder)
    return online
