"""Libraries that run an exported encoder, one file each; they come with extras of the package."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64

from textcl.errors import RunError, UserError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

BACKENDS = {"openvino": ("openvino", "nncf"), "onnx": ("onnx", "onnxscript", "onnxruntime")}
"""Packages that each backend needs, which are those of the extra with its name."""


OUTPUTS = ("sentence_embedding", "last_hidden_state")
"""Names of the outputs of every graph, by which other loaders read them; textcl reads the first."""


class Padded(NamedTuple):
    """Rows `start` to `stop` of a block, padded on the right; the mask is 1 on real tokens."""

    start: int
    stop: int
    ids: Int64[np.ndarray, "B L"]
    mask: Int64[np.ndarray, "B L"]


Receive = Callable[[int, int, Float32[np.ndarray, "B D"]], None]
"""Takes the vectors of rows `start` to `stop`; batches may end in any order."""

Run = Callable[[Iterable[Padded], Receive], None]
"""Runs all batches and hands over their vectors before it returns."""


@runtime_checkable
class Backend(Protocol):
    """The content of a file of this package."""

    FILE: str
    PRECISIONS: tuple[str, ...]

    def convert(self, program: ExportedProgram, path: Path) -> None:
        """Write an exported program of torch to `path`, in float32."""
        ...

    def quantize(self, path: Path, target: Path, batches: Iterable[Padded]) -> None:
        """Write the model at `path` to `target` with int8 weights and activations, fitted to the batches."""
        ...

    def halve(self, path: Path, target: Path) -> None:
        """Write the model at `path` to `target` with float16 weights, which are float32 again where it runs."""
        ...

    def load(self, path: Path, precision: str) -> Run:
        """The model at `path`, ready to run."""
        ...


def find_backend(name: str) -> Backend:
    """The backend of that name.

    Raises:
        UserError: If there is none, or its packages are not installed.
    """
    if name not in BACKENDS:
        raise UserError(f"unknown backend {name!r}: choose one of {', '.join(BACKENDS)}")
    missing = [p for p in BACKENDS[name] if importlib.util.find_spec(p) is None]
    if missing:
        raise UserError(
            f"the backend {name!r} needs {' and '.join(missing)}, which is not installed: "
            f'pip install "textcl-train[{name}]"'
        )
    return cast(Backend, importlib.import_module(f"textcl.export.{name}"))


def convert(library: Backend, program: ExportedProgram, path: Path, kind: str) -> None:
    """Write a program in the format of a library.

    Args:
        library: Which one.
        program: An encoder as torch exports it.
        path: The file to make.
        kind: What the encoder is, for the message.

    Raises:
        RunError: If the library has no form for one of its operators.
    """
    try:
        library.convert(program, path)
    except OSError:
        raise
    except Exception as error:  # each converter has its own; the first cause says most
        cause: BaseException = error
        while cause.__cause__:
            cause = cause.__cause__
        raise RunError(
            f"{path.name} cannot be made of this {kind} model ({' '.join(str(cause).split()):.160}): use another "
            "backend, or --backend torch"
        ) from error
