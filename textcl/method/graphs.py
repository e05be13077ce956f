"""Training steps as graphs of a card: what the host launches one by one is recorded once and launched at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from textcl.method.backprop import Backprop, Backward
from textcl.method.calls import Call, Calls, first_difference, host_counts
from textcl.method.hooks import EmbedAll, Hook
from textcl.method.recording import Recorder
from textcl.method.same_memory import KeptBatch, KeptGradients
from textcl.transfer import signature_of
from textcl.types import Batch, Embeddings, LossOutput

_SIZES = 256  # that are remembered at once

Step = tuple[LossOutput, Embeddings]


@dataclass
class _Size:
    """Batches of one size: how often they came, and what is known of their step."""

    met: int = 0
    due: bool = True
    same: bool = False
    calls: list[Call] = field(default_factory=list[Call])
    learning: list[nn.Parameter] = field(default_factory=list[nn.Parameter])
    memory: KeptBatch | None = None
    graph: tuple[Step, Callable[[], object]] | None = None


class Graphs(Hook):
    """Gradients by way of another `Backprop`, whose steps become graphs where that is possible.

    A size of batch is run as ever when it is met first. After that its calls are noted and compared: twice at the
    beginning, whenever it was met twice as often, and after the beginning of an epoch. Where they are the same, the
    step is recorded and repeated.

    Args:
        backprop: How gradients are obtained.
        recorder: Of the device.
        log: Called with a line for the user, once, where steps cannot be recorded.
        most: Sizes that are recorded; batches of other sizes are run as ever.
    """

    def __init__(
        self, backprop: Backprop, recorder: Recorder, log: Callable[[str], object], most: int = 8
    ) -> None:
        self.backprop, self.recorder, self.log, self.most = backprop, recorder, log, most
        self.sizes: dict[Hashable, _Size] = {}
        self.gradients = KeptGradients()
        self.reported = self.given_up = False

    def before_epoch(self, epoch: int, embed_all: EmbedAll) -> None:
        """Compare calls again: other hooks may have changed anything."""
        for size in self.sizes.values():
            size.due = True

    def __call__(
        self, embedder: nn.Module, objective: nn.Module, batch: Batch, backward: Backward
    ) -> Step:
        """See `Backprop`. Everything but the loss holds until the next step."""
        if self.given_up or not batch.inputs:
            return self.backprop(embedder, objective, batch, backward)
        batch = replace(batch, tokens={})  # its inputs are made of them
        size = self._size_of(batch)
        size.met += 1
        compare = size.due or size.met & (size.met - 1) == 0
        if size.met == 1 or (size.graph is None and self._full) or not (compare or size.same):
            step = self.backprop(embedder, objective, batch, backward)
            size.learning = [
                p for m in (embedder, objective) for p in m.parameters() if p.grad is not None
            ]
            return step
        self.gradients.attach(size.learning)
        size.memory = size.memory or KeptBatch(batch)
        seen = size.memory.load(batch)

        def run() -> Step:
            output, z = self.backprop(embedder, objective, seen, backward)
            return replace(output, loss=output.loss.detach()), z

        if compare:
            return self._compared(size, run, batch.rows.device, embedder, objective)
        return self._repeated(size, run)

    @property
    def _full(self) -> bool:
        return sum(size.graph is not None for size in self.sizes.values()) >= self.most

    def _size_of(self, batch: Batch) -> _Size:
        if len(self.sizes) == _SIZES:
            self.sizes = {key: size for key, size in self.sizes.items() if size.graph}
            if not self.sizes:
                self._give_up("hardly any batch has the size of another")
        return self.sizes.setdefault(signature_of(batch), _Size())

    def _compared(
        self, size: _Size, run: Callable[[], Step], device: torch.device, *modules: nn.Module
    ) -> Step:
        """A step whose calls are compared with those of the last one."""
        counts = host_counts(*modules)
        with Calls(device) as calls:
            step = self.recorder.aside(run)
        known, change = bool(size.calls), first_difference(size.calls, calls.made)
        size.due, size.same, size.calls = not known, known and not change, calls.made
        if not size.same:
            size.graph = None
        if calls.on_host:
            self._give_up(f"{calls.on_host[0]} needs the host")
        elif counts != host_counts(*modules):
            self._give_up("each of them moves a count on the host")
        elif known and change:
            self._report(f"{change}; it is tried again later")
        return step

    def _repeated(self, size: _Size, run: Callable[[], Step]) -> Step:
        """A step that does what one before it did."""
        if size.graph is None:
            try:
                size.graph = self.recorder.record(run)
            except RuntimeError as error:
                self._give_up(str(error).strip().splitlines()[0])
                return run()
        else:
            size.graph[1]()
        output, z = size.graph[0]
        return replace(output, loss=output.loss.clone()), z

    def _give_up(self, why: str) -> None:
        self.given_up = True
        self.sizes.clear()
        self._report(why)

    def _report(self, why: str) -> None:
        if not self.reported:
            self.log(f"graphs=true: steps are not repeated as graphs ({why})")
        self.reported = True
