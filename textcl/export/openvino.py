"""OpenVINO on CPUs: several batches at a time, bfloat16 where the processor multiplies it, int8 by NNCF.

The telemetry package that OpenVINO brings would report every import to its makers; it is kept from loading, for which
OpenVINO and NNCF have a silent stand-in.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from textcl.export.backends import OUTPUTS, Padded, Receive, Run

sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]

import openvino  # noqa: E402 # pyright: ignore[reportMissingImports]

FILE = "openvino_model.xml"
PRECISIONS = ("float32", "bfloat16")

_HINTS = {"float32": "f32", "bfloat16": "bf16"}


def convert(program: ExportedProgram, path: Path) -> None:
    """Write an exported program of torch to `path`, in float32."""
    model = openvino.convert_model(program)
    for output, name in zip(model.outputs, OUTPUTS, strict=True):
        output.get_tensor().set_names({name})
    openvino.save_model(model, path, compress_to_fp16=False)


def quantize(path: Path, target: Path, batches: Iterable[Padded]) -> None:
    """Write the model at `path` to `target` with int8 weights and activations, fitted to the batches."""
    nncf = _nncf()
    feeds = [{0: batch.ids, 1: batch.mask} for batch in batches]
    with contextlib.redirect_stdout(io.StringIO()):  # its progress bars
        model = nncf.quantize(
            openvino.Core().read_model(path),
            nncf.Dataset(feeds),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(feeds),
        )
    openvino.save_model(model, target, compress_to_fp16=False)


def halve(path: Path, target: Path) -> None:
    """Write the model at `path` to `target` with float16 weights, which are float32 again where it runs."""
    openvino.save_model(openvino.Core().read_model(path), target, compress_to_fp16=True)


def load(path: Path, precision: str) -> Run:
    """The model at `path`, compiled for throughput with as many threads as torch uses."""
    settings = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    model = openvino.Core().read_model(path)
    for states in model.get_results()[
        1:
    ]:  # the states of tokens, for others: copying them out takes time
        model.remove_result(states)
    queue = openvino.AsyncInferQueue(openvino.Core().compile_model(model, "CPU", settings))

    def run(batches: Iterable[Padded], receive: Receive) -> None:
        def done(request: Any, span: tuple[int, int]) -> None:
            receive(*span, np.asarray(request.get_output_tensor(0).data, dtype=np.float32))

        queue.set_callback(done)
        for batch in batches:
            queue.start_async({0: batch.ids, 1: batch.mask}, (batch.start, batch.stop))
        queue.wait_all()

    return run


def _nncf() -> ModuleType:
    import nncf  # pyright: ignore[reportMissingImports]

    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf
