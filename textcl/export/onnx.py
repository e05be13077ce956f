"""ONNX Runtime on CPUs: float32, or int8 weights with activations quantised as they come."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Generator, Iterable
from pathlib import Path

import numpy as np
import onnx  # pyright: ignore[reportMissingImports]
import onnxruntime  # pyright: ignore[reportMissingImports]
import torch
from torch.export import ExportedProgram

from textcl.export.backends import OUTPUTS, Padded, Receive, Run

FILE = "model.onnx"
PRECISIONS = ("float32",)

_LARGEST_HALF = float(np.finfo(np.float16).max)


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


def halve(path: Path, target: Path) -> None:
    """Write the model at `path` to `target` with float16 weights, which are float32 again where it runs.

    Each weight is cast once, when the model is loaded. Numbers beyond float16, such as those of masks, stay.
    """
    model = onnx.load(path)
    casts: list[onnx.NodeProto] = []
    for weight in model.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype != np.float32 or not values.size or abs(values).max() > _LARGEST_HALF:
            continue
        name = weight.name
        weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(
            onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, target)


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
