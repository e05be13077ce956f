"""Recording what a training step launches, and launching it again; never run on a card yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

import torch

T = TypeVar("T")


@runtime_checkable
class Recorder(Protocol):
    """Records what a function launches."""

    def aside(self, run: Callable[[], T]) -> T:
        """Run a function where it would be recorded, without recording it."""
        ...

    def record(self, run: Callable[[], T]) -> tuple[T, Callable[[], object]]:
        """Run a function once.

        Args:
            run: Touches no memory but that which is there when it is called, and its own.

        Returns:
            What it gave, and what runs its launches again, on the same memory.
        """
        ...


class CudaGraphs:
    """Records on a stream of its own; all graphs share one pool of memory.

    torch registers its generator of the device with each graph, so that dropout differs from one time to the next.

    Args:
        device: Where steps run.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()
        self._failed: list[torch.cuda.CUDAGraph] = []  # for as long as the allocator may ask them

    def aside(self, run: Callable[[], T]) -> T:
        """See `Recorder`: on the stream of the recordings, where nodes of autograd then belong."""
        current = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            given = run()
        current.wait_stream(self.stream)
        return given

    def record(self, run: Callable[[], T]) -> tuple[T, Callable[[], object]]:
        """See `Recorder`.

        Raises:
            RuntimeError: If the step cannot be recorded; it may be run then as ever.
        """
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self.stream.device)
        try:
            # the thread of the loader pins memory meanwhile, which a recording forbids to all threads otherwise
            with torch.cuda.graph(
                graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"
            ):
                given = run()
        except RuntimeError as error:
            # what torch leaves behind: its stream is current, its generator records on, its allocator asks the graph
            torch.cuda.set_stream(current)
            generator = torch.cuda.default_generators[self.stream.device.index]
            generator.graphsafe_set_state(generator.clone_state())
            self._failed.append(graph)
            # what failed first, over which the end of the recording failed, too
            if isinstance(error.__context__, RuntimeError):
                raise error.__context__ from error
            raise
        graph.replay()  # until here nothing was computed
        return given, graph.replay
