"""What is left behind a recording that failed; torch's part of it is played by stand-ins here."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from textcl.method.recording import CudaGraphs


class Generator:
    """A generator of a card: its state records from the beginning of a recording to a successful end."""

    def __init__(self, records=False):
        self.records = records

    def clone_state(self):
        return Generator()

    def graphsafe_set_state(self, other):
        self.records = other.records


@pytest.fixture
def card(monkeypatch):
    """The streams that were made current, and the generator."""
    current, generator = ["default"], Generator()

    @contextmanager
    def graph(graph, pool, stream, capture_error_mode):
        current.append(stream.name)
        generator.records = True
        try:
            yield
        except RuntimeError as error:
            if "capturing" in str(error):  # as torch does: the end of the recording fails over it
                raise RuntimeError("failed due to a previous error during capture") from None
            generator.records = False
            raise
        generator.records = False
        current.append("default")

    side = SimpleNamespace(name="side", device=torch.device("cuda", 0))
    for name, value in {
        "Stream": lambda device: side,
        "graph_pool_handle": lambda: (0, 1),
        "CUDAGraph": lambda: SimpleNamespace(replay=lambda: None),
        "current_stream": lambda device: current[-1],
        "set_stream": current.append,
        "graph": graph,
        "default_generators": (generator,),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return current, generator


def test_a_recording_that_failed_leaves_stream_and_generator_as_they_were(card):
    current, generator = card

    def run():
        raise RuntimeError("operation not permitted when stream is capturing")

    graphs = CudaGraphs(torch.device("cuda", 0))
    with pytest.raises(RuntimeError, match="operation not permitted"):
        graphs.record(run)
    assert current[-1] == "default"
    assert not generator.records
    given, _ = graphs.record(lambda: 3)
    assert given == 3


def test_a_lack_of_memory_while_recording_is_told_as_it_is(card):
    def run():
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        CudaGraphs(torch.device("cuda", 0)).record(run)
    assert card[0][-1] == "default"
