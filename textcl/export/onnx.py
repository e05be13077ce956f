"""ONNX Runtime on CPUs: float32, or int8 weights with activations quantised as they come."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Generator, Iterable
from pathlib import Path

import numpy as np
import onnxruntime  # pyright: ignore[reportMissingImports]
import torch
from torch.export import ExportedProgram

from textcl.export.backends import OUTPUTS, Padded, Receive, Run

FILE = "model.onnx"
PRECISIONS = ("float32",)


def convert(program: ExportedProgram, path: Path) -> None:
    """Write an exported program of torch to `path`, in float32.

    The exporter notes at every node which line of which source file made it. These paths of the machine, most of the
    file for a small model, are left out.
    """
    with _without_advice("torch.onnx"), contextlib.redirect_stdout(io.StringIO()):
        converted = torch.onnx.export(program, dynamo=True, verbose=False)
        assert converted is not None
        for node in converted.model.graph.all_nodes():
            node.metadata_props.clear()
        for output, name in zip(converted.model.graph.outputs, OUTPUTS, strict=True):
            output.name = name
        converted.save(path)


def quantize(path: Path, target: Path, batches: Iterable[Padded]) -> None:
    """Write the model at `path` to `target` with int8 weights; activations need no batches to fit them to."""
    from onnxruntime.quantization import (  # pyright: ignore[reportMissingImports]
        QuantType,
        quantize_dynamic,
    )

    with _without_advice(None):
        quantize_dynamic(path, target, weight_type=QuantType.QInt8, per_channel=True)


def load(path: Path, precision: str) -> Run:
    """The model at `path`, with as many threads as torch uses."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    first = session.get_outputs()[0].name

    def run(batches: Iterable[Padded], receive: Receive) -> None:
        for batch in batches:
            feed = dict(zip(names, (batch.ids, batch.mask), strict=True))
            vectors = np.asarray(session.run([first], feed)[0])
            receive(batch.start, batch.stop, vectors)

    return run


@contextlib.contextmanager
def _without_advice(name: str | None) -> Generator[None]:
    """Only errors are logged: the exporters tell of packages and passes that are not needed here."""
    log = logging.getLogger(name)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
