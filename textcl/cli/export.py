"""`textcl export`: an encoder as a graph for OpenVINO or ONNX Runtime."""

from __future__ import annotations

from enum import StrEnum
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from textcl.cli.encode import text_column
from textcl.errors import UserError

if TYPE_CHECKING:
    from textcl.evaluation.tasks import StsTask


class Graph(StrEnum):
    """Library that runs the graph."""

    openvino = "openvino"
    onnx = "onnx"


EXAMPLES = (
    "Examples: textcl export RUN -o exported --backend openvino · "
    "textcl export RUN -o small --backend openvino --int8 --calibration sentences.txt · "
    "textcl encode small sentences.txt -o vectors.npy"
)


def export_command(
    model: Annotated[str, typer.Argument(help="A run, a model folder or a name on the hub.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make.")],
    backend: Annotated[Graph, typer.Option(help="Library that will run it.")],
    int8: Annotated[
        bool, typer.Option("--int8", help="8-bit weights and activations; prints what they cost.")
    ] = False,
    calibration: Annotated[
        str | None,
        typer.Option(help="Texts like yours that int8 is fitted to; default: textcl's sample."),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="Where the calibration text is: text=NAME of the column."),
    ] = None,
    normalize: Annotated[
        bool | None,
        typer.Option(
            "--normalize/--no-normalize", help="Vectors of length 1; default: as the model says."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an older export.")
    ] = False,
) -> None:
    """Write a model as one graph, pooling and normalisation inside, for `textcl encode` and `textcl eval`.

    The vectors of the graph are compared with those of torch before anything is written. With --int8 the scores and
    the speed on STS-B dev (or on textcl's sample, where STS-B is not at hand) are printed for both.
    """
    from textcl.encoder.encoder import Encoder
    from textcl.export.backends import find_backend
    from textcl.export.write import export_encoder

    find_backend(backend.value)
    if output.exists() and not overwrite:
        raise UserError(f"{output} exists already: name another folder or add --overwrite")
    if calibration is not None and not int8:
        raise UserError("--calibration is for --int8: add it, or leave the texts out")
    rows = None if calibration is None else _texts(calibration, text_column(column or []))
    log = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    encoder = Encoder.from_pretrained(model, normalize=normalize, device="cpu")
    exported = export_encoder(encoder, output, backend.value, int8=int8, calibration=rows)
    close = exported.check("float32")
    log.print(
        f"{output}: {backend.value}{', int8' if int8 else ''}, {exported.dimension} dimensions, pooling "
        f"{encoder.pooling}; cosine to the vectors of torch: lowest {close.min():.6f}, median {median(close):.6f}"
    )
    if int8:
        _compare(encoder, exported)


def _texts(source: str, columns: dict[str, str]) -> list[str]:
    from textcl.data.sources import open_source
    from textcl.data.stream import stream_rows
    from textcl.export.write import CALIBRATION_ROWS

    opened = open_source(source)
    rows = stream_rows(opened, columns=columns)
    texts = [row.text for row in islice(rows, CALIBRATION_ROWS) if row.text.strip()]
    if not texts:
        raise UserError(f"{opened.name}: there is no text to fit int8 to")
    return texts


def _compare(encoder: Any, exported: Any) -> None:
    """Score and speed of the model before and after, on the same pairs."""
    from textcl.evaluation.benchmarks import EncodeWith, describe, evaluate

    task = _pairs()
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("graph", "arithmetic", task.name, "sentences/s"):
        table.add_column(name, justify="left" if name in ("graph", "arithmetic") else "right")
    score: list[float] = []
    for name, arithmetic, model in (
        ("torch", "float32", EncodeWith(encoder, precision="float32")),
        ("torch", "default", encoder),
        (exported.export.backend, "int8", exported),
    ):
        found = evaluate(model, task)
        score.append(found[task.name] or float("nan"))
        speed = found.sentences / max(found.seconds, 1e-9)
        table.add_row(name, arithmetic, f"{score[-1]:.2f}", f"{speed:,.0f}")
    console = Console(width=120)
    console.print(table)
    told = describe(task.protocol("all"), "all")
    console.print(f"int8 changes the score by {score[-1] - score[0]:+.2f} points ({told})")


def _pairs() -> StsTask:
    """STS-B dev where it is at hand, else the pairs that come with textcl."""
    from textcl.evaluation.tasks import load_task

    try:
        return load_task("STSBenchmark-dev")
    except UserError:
        return load_task("sample-pairs-dev")
