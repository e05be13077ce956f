"""`textcl encode`: the vectors of a file of texts."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from itertools import chain, islice
from typing import Annotated, Any

import typer

from textcl.cli.options import (
    MODEL,
    OUTPUT,
    BatchTokens,
    FastPrecision,
    Format,
    Input,
    Limit,
    ModelName,
    Normalize,
    Overwrite,
    Quiet,
    Split,
    TextColumn,
    log_console,
    parse_columns,
)
from textcl.errors import UserError
from textcl.progress import progress

EXAMPLES = """Examples:

textcl encode RUN sentences.txt -o vectors.npy

textcl encode RUN articles.parquet --column text=title -o titles.parquet

textcl encode RUN sentences.txt -o small.npy --truncate-dim 128 --normalize

textcl encode EXPORT sentences.txt -o vectors.npy --backend openvino

zcat log.gz | textcl encode RUN - -o - | head
"""


class Backend(StrEnum):
    """Library that runs the encoder."""

    torch = "torch"
    openvino = "openvino"
    onnx = "onnx"


def encode_command(
    model: ModelName,
    source: Input,
    output: Annotated[
        str,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="File ending in .npy, .parquet, .safetensors or .jsonl, or - for JSON lines on standard output.",
            rich_help_panel=OUTPUT,
        ),
    ],
    column: TextColumn = None,
    format: Format = None,
    split: Split = None,
    limit: Limit = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Prompt of the model, by name, put before every text. Default: the model's default prompt, if any.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    prompt_text: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="A text of your own, put before every text. Default: none.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    truncate_dim: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Keep only the first N dimensions. Default: all.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    normalize: Normalize = None,
    precision: FastPrecision = None,
    backend: Annotated[
        Backend | None,
        typer.Option(
            metavar="NAME",
            help="Library that runs the model: torch, openvino or onnx. Default: torch, or that of an export.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    batch_tokens: BatchTokens = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Write the vector of every text of INPUT to a file.

    Row i of the output belongs to row i of the input; a blank line is the empty text and keeps its row. Files of type
    npy and safetensors hold the vectors alone (N, D); parquet and jsonl also hold the text and every other column.
    """
    from textcl.data.sources import open_source
    from textcl.data.stream import stream_rows
    from textcl.data.vectors import vector_format
    from textcl.encoder.to_file import encode_rows

    # What is wrong with the files is found in a moment; a model may take minutes to load.
    vector_format(output, overwrite=overwrite)
    opened = open_source(source, split=split, format=format and format.value)
    rows = stream_rows(opened, columns=parse_columns(column, ["text"]))
    first = next(rows, None)
    if first is None:
        raise UserError(f"{opened.name}: no row to encode")
    options: dict[str, Any] = {
        "prompt": prompt,
        "prompt_text": prompt_text,
        "truncate_dim": truncate_dim,
        "normalize": normalize,
        "precision": precision and precision.value,
        "batch_tokens": batch_tokens,
    }
    log = log_console(quiet=quiet)
    encoder = load_encoder(model, backend and backend.value)
    try:
        shown = log.is_terminal and not quiet
        with progress("encoding", "sentences", show=shown, console=log) as advance:
            summary = encode_rows(
                encoder,
                islice(chain([first], rows), limit),
                output,
                schema=opened.schema(),
                overwrite=overwrite,
                progress=advance,
                **{name: value for name, value in options.items() if value is not None},
            )
    except BrokenPipeError:  # whoever reads standard output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    log.print(summary.describe())


def load_encoder(model: str, backend: str | None) -> Any:
    """The encoder that `model` names."""
    from textcl.export import load

    return load.load_encoder(model, backend)


def kept(parameters: Mapping[str, Any]) -> str:
    """What there is of the output when the command is stopped."""
    output = parameters["output"]
    return "the output is incomplete" if output == "-" else f"nothing of {output} was written"
