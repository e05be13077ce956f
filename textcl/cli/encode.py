"""`textcl encode`: the vectors of a file of texts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from enum import StrEnum
from itertools import chain, islice
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from textcl.errors import UserError


class Precision(StrEnum):
    """Arithmetic of the encoder."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class Backend(StrEnum):
    """Library that runs the encoder."""

    torch = "torch"
    openvino = "openvino"
    onnx = "onnx"


class Lines(StrEnum):
    """What standard input holds."""

    txt = "txt"
    csv = "csv"
    tsv = "tsv"
    jsonl = "jsonl"


def encode_command(
    model: Annotated[str, typer.Argument(help="A run, a model folder or a name on the hub.")],
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="txt, csv, tsv, jsonl (also .gz, .xz), parquet, a folder of them, a hub data set, or - for "
            "standard input.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "-o", "--output", help="A file ending in .npy, .parquet, .safetensors or .jsonl, or -."
        ),
    ],
    column: Annotated[
        list[str] | None, typer.Option(help="Where the text is: text=NAME of the column.")
    ] = None,
    format: Annotated[
        Lines | None, typer.Option(help="What standard input holds; default: txt.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of a hub data set or folder.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Encode only so many rows.")] = None,
    prompt: Annotated[
        str | None, typer.Option(help="A prompt of the model, by name, put before every text.")
    ] = None,
    prompt_text: Annotated[
        str | None, typer.Option(help="A text of your own, put before every text.")
    ] = None,
    truncate_dim: Annotated[
        int | None, typer.Option(min=1, help="Keep only the first so many dimensions.")
    ] = None,
    normalize: Annotated[
        bool | None,
        typer.Option(
            "--normalize/--no-normalize", help="Vectors of length 1; default: as the model says."
        ),
    ] = None,
    precision: Annotated[
        Precision | None, typer.Option(help="Default: bfloat16 where it is fast, else float32.")
    ] = None,
    backend: Annotated[
        Backend | None,
        typer.Option(help="Library that runs the model; an export says its own. Default: torch."),
    ] = None,
    batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens in one forward pass; less needs less memory.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output where it exists.")
    ] = False,
) -> None:
    """Write the vector of every text of INPUT: row i of the output belongs to row i of the input.

    A blank line is the empty text and keeps its row. .npy and .safetensors hold the vectors alone (N, D); .parquet and
    .jsonl also hold the text and every other column.

    Examples: textcl encode RUN sentences.txt -o vectors.npy ·
    textcl encode RUN articles.parquet --column text=title -o titles.parquet --truncate-dim 128 --normalize ·
    textcl encode RUN sentences.txt -o vectors.npy --backend openvino ·
    zcat log.gz | textcl encode RUN - -o - | head
    """
    from textcl.data.sources import open_source
    from textcl.data.stream import stream_rows
    from textcl.data.vectors import vector_format
    from textcl.encoder.to_file import encode_rows

    # What is wrong with the files is found in a moment; a model may take minutes to load.
    vector_format(output, overwrite=overwrite)
    opened = open_source(source, split=split, format=format and format.value)
    rows = stream_rows(opened, columns=text_column(column or []))
    first = next(rows, None)
    if first is None:
        raise UserError(f"{opened.name}: there is no row to encode")
    options: dict[str, Any] = {
        "prompt": prompt,
        "prompt_text": prompt_text,
        "truncate_dim": truncate_dim,
        "normalize": normalize,
        "precision": precision and precision.value,
        "batch_tokens": batch_tokens,
    }
    log = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    encoder = load_encoder(model, backend and backend.value)
    try:
        with shown_progress(log, "encoding", "sentences") as progress:
            summary = encode_rows(
                encoder,
                islice(chain([first], rows), limit),
                output,
                schema=opened.schema(),
                overwrite=overwrite,
                progress=progress,
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


def text_column(options: list[str]) -> dict[str, str]:
    """Role to column name of `--column text=NAME`.

    Raises:
        UserError: If it says anything else.
    """
    names: dict[str, str] = {}
    for option in options:
        role, _, name = option.partition("=")
        if role != "text" or not name:
            raise UserError(f"expected --column text=NAME, got --column {option}")
        names[role] = name
    return names


@contextmanager
def shown_progress(log: Console, doing: str, unit: str) -> Generator[Callable[[Any], None]]:
    """A function to call with a summary that has `rows` and `speed`, shown in a terminal."""
    columns = (
        SpinnerColumn(),
        TextColumn(f"{doing}: {{task.completed:,}} rows"),
        TextColumn(f"{{task.fields[speed]:,.0f}} {unit}/s"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=log, disable=not log.is_terminal, transient=True) as shown:
        task = shown.add_task(doing, total=None, speed=0.0)
        yield lambda summary: shown.update(task, completed=summary.rows, speed=summary.speed)
