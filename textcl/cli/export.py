"""`textcl export`: an encoder as a graph of another library, as a static model, or with its adapter merged."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer

from textcl.cli.consoles import log_console, result_console, result_table
from textcl.cli.options import (
    DATA,
    MODEL,
    OUTPUT,
    ModelName,
    Normalize,
    Overwrite,
    Quiet,
    TextColumn,
    parse_columns,
    require_new_folder,
)
from textcl.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from textcl.classifier.classifier import Classifier
    from textcl.encoder.encoder import Encoder
    from textcl.evaluation.tasks import StsTask
    from textcl.export.exported import ExportedEncoder


class Graph(StrEnum):
    """Library that runs the model."""

    torch = "torch"
    openvino = "openvino"
    onnx = "onnx"
    static = "static"


EXAMPLES = """Examples:

textcl export RUN -o exported --backend openvino

textcl export RUN -o small --backend onnx --int8 --calibration sentences.txt

textcl export RUN -o half --backend onnx --fp16

textcl export LORA -o merged --backend torch

textcl export RUN -o table --backend static

textcl encode exported sentences.txt -o vectors.npy
"""


def export_command(
    model: ModelName,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="FOLDER", help="Folder to create.", rich_help_panel=OUTPUT
        ),
    ],
    backend: Annotated[
        Graph,
        typer.Option(
            metavar="NAME",
            help="Target: openvino, onnx, torch, which merges an adapter into its base, or static, a table of token "
            "vectors (recipe static also trains it).",
            rich_help_panel=MODEL,
        ),
    ],
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Use 8-bit weights and activations, and print what that costs.",
            rich_help_panel=MODEL,
        ),
    ] = False,
    fp16: Annotated[
        bool,
        typer.Option(
            "--fp16",
            help="Use 16-bit weights, half of the file, and print what that costs.",
            rich_help_panel=MODEL,
        ),
    ] = False,
    calibration: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Texts like yours to which --int8 is fitted. Default: textcl's sample.",
            rich_help_panel=DATA,
        ),
    ] = None,
    column: TextColumn = None,
    normalize: Normalize = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Write an encoder as a graph for OpenVINO or ONNX Runtime, as a static model, or with its adapter merged.

    Pooling and normalisation are inside the graph, which `textcl encode` and `textcl eval` read. Its vectors are
    compared with those of torch before anything is written. With --int8 or --fp16, scores and speed on STS-B dev (on
    textcl's sample if STS-B is not on this machine) are printed for both.
    """
    from textcl.encoder.adapter import has_adapter, merge_adapter
    from textcl.export.backends import find_backend
    from textcl.export.write import export_encoder

    require_new_folder(output, overwrite=overwrite, inputs=[model])
    if backend in (Graph.torch, Graph.static):
        if int8 or fp16:
            raise UserError(
                f"--{'int8' if int8 else 'fp16'} is for a graph: choose --backend openvino or onnx"
            )
        write = _merge if backend is Graph.torch else _distil
        write(model, output, log_console(quiet=quiet))
        return
    find_backend(backend.value)
    if calibration is not None and not int8:
        raise UserError("--calibration is for --int8: add it, or leave the texts out")
    rows = None if calibration is None else _texts(calibration, parse_columns(column, ["text"]))
    log = log_console(quiet=quiet)
    encoder = _encoder(model, log, normalize)
    if has_adapter(encoder.backbone):
        merge_adapter(encoder.backbone)
    exported = export_encoder(
        encoder, output, backend.value, int8=int8, fp16=fp16, calibration=rows
    )
    close = exported.check("float32")
    weights = "int8" if int8 else "fp16" if fp16 else ""
    log.print(
        f"{output}: {backend.value}{f', {weights}' if weights else ''}, {exported.dimension} dimensions, pooling "
        f"{encoder.pooling}; cosine to the vectors of torch: lowest {close.min():.6f}, median {median(close):.6f}"
    )
    if weights:
        _compare(encoder, exported, weights)


def _merge(model: str, output: Path, log: Console) -> None:
    """Write a model whose adapter is part of its weights."""
    from textcl.encoder.adapter import has_adapter, merge_adapter
    from textcl.encoder.encoder import PARITY_TEXTS, Encoder

    loaded = _classifier(model) or Encoder.from_pretrained(model, device="cpu")
    encoder = loaded if isinstance(loaded, Encoder) else loaded.encoder
    numbers = loaded.encode if isinstance(loaded, Encoder) else loaded.logits
    if not has_adapter(encoder.backbone):
        raise UserError(f"{model} has no adapter to merge: it is a whole model already")
    before = numbers(PARITY_TEXTS, precision="float32")
    merge_adapter(encoder.backbone)
    difference = abs(numbers(PARITY_TEXTS, precision="float32") - before).max()
    loaded.save_pretrained(output)
    log.print(f"{output}: the adapter is merged; largest difference of a number {difference:.1g}")


def _holds_classes(model: str) -> bool:
    """Whether a model is a classifier."""
    from textcl.classifier.folder import is_classifier
    from textcl.encoder.hub import find_model

    return is_classifier(find_model(model))


def _classifier(model: str) -> Classifier | None:
    from textcl.classifier.classifier import Classifier

    return Classifier.from_pretrained(model, device="cpu") if _holds_classes(model) else None


def _encoder(model: str, log: Console, normalize: bool | None = None) -> Encoder:
    """The encoder of a model, with a line on the classes that it leaves behind."""
    from textcl.encoder.encoder import Encoder

    encoder = Encoder.from_pretrained(model, normalize=normalize, device="cpu")
    if _holds_classes(model):
        log.print(f"{model} is a classifier: its encoder alone is exported, without the classes")
    return encoder


def _distil(model: str, output: Path, log: Console) -> None:
    """Write the table of token vectors that a model distils to, untrained."""
    from textcl.encoder.distilling import distil

    student = distil(_encoder(model, log), show_progress=not log.quiet)
    student.save_pretrained(output)
    rows = len(student.tokenizer)
    log.print(
        f"{output}: a table of {rows:,} tokens, {student.dimension} dimensions, not trained; "
        "textcl train --recipe static trains one on your sentences"
    )


def _texts(source: str, columns: dict[str, str]) -> list[str]:
    from textcl.data.sources import open_source
    from textcl.data.stream import stream_rows
    from textcl.export.write import CALIBRATION_ROWS

    opened = open_source(source)
    rows = stream_rows(opened, columns=columns)
    texts = [row.text for row in islice(rows, CALIBRATION_ROWS) if row.text.strip()]
    if not texts:
        raise UserError(f"{opened.name}: no text to fit int8 to")
    return texts


def _compare(encoder: Encoder, exported: ExportedEncoder, weights: str) -> None:
    """Score and speed of the model before and after, on the same pairs."""
    from textcl.evaluation.benchmarks import EncodeWith, evaluate, protocol_line

    task = _pairs()
    table = result_table("graph", "arithmetic", task.name, "sentences/s", left=2)
    score: list[float] = []
    for name, arithmetic, model in (
        ("torch", "float32", EncodeWith(encoder, precision="float32")),
        ("torch", "default", encoder),
        (exported.export.backend, weights, exported),
    ):
        scored = evaluate(model, task)
        score.append(scored[task.name] or float("nan"))
        speed = scored.sentences / max(scored.seconds, 1e-9)
        table.add_row(name, arithmetic, f"{score[-1]:.2f}", f"{speed:,.0f}")
    console = result_console()
    console.print(table)
    protocol = protocol_line(task.protocol("all"), "all")
    console.print(f"{weights} changes the score by {score[-1] - score[0]:+.2f} points ({protocol})")


def _pairs() -> StsTask:
    """STS-B dev where it is at hand, else the pairs that come with textcl."""
    from textcl.evaluation.tasks import load_task

    try:
        return load_task("STSBenchmark-dev")
    except UserError:
        return load_task("sample-pairs-dev")


def kept(parameters: Mapping[str, object]) -> str:
    """State of the export when the command is stopped."""
    return f"{parameters['output']} is either complete or was not touched"
