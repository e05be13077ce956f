"""`textcl encode`: the vectors of a file of texts."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textcl.cli.consoles import log_console
from textcl.cli.encode_folder import encode_folder, workers_of
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
    parse_columns,
)
from textcl.errors import UserError
from textcl.progress import progress

if TYPE_CHECKING:
    from textcl.encoder.encoder import Encoder
    from textcl.encoder.to_file import EncodeOptions
    from textcl.export.exported import ExportedEncoder

EXAMPLES = """Examples:

textcl encode RUN sentences.txt -o vectors.npy

textcl encode RUN articles.parquet --column text=title -o titles.parquet

textcl encode RUN sentences.txt -o small.npy --truncate-dim 128 --normalize

textcl encode RUN 'corpus/*.txt.gz' -o vectors/

textcl encode EXPORT sentences.txt -o vectors.npy --backend openvino

zcat log.gz | textcl encode RUN - -o - | head
"""


class ShardFormat(StrEnum):
    """Files of a folder of shards."""

    npy = "npy"
    parquet = "parquet"
    safetensors = "safetensors"
    jsonl = "jsonl"


class NumberType(StrEnum):
    """Numbers of a vector."""

    float32 = "float32"
    float16 = "float16"


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
            metavar="FILE|FOLDER/",
            help="File ending in .npy, .parquet, .safetensors or .jsonl, - for JSON lines on standard output, or a "
            "folder of shards, which the same command continues.",
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
    dtype: Annotated[
        NumberType,
        typer.Option(
            metavar="NAME",
            help="Number format of the vectors: float32, or float16 in half the space.",
            rich_help_panel=OUTPUT,
        ),
    ] = NumberType.float32,
    backend: Annotated[
        Backend | None,
        typer.Option(
            metavar="NAME",
            help="Library that runs the model: torch, openvino or onnx. Default: torch, or that of an export.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    batch_tokens: BatchTokens = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Make only every N-th shard of a folder, from the I-th: one job of an array. Default: all.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    shard_rows: Annotated[
        int, typer.Option(min=1, metavar="N", help="Rows of a shard.", rich_help_panel=OUTPUT)
    ] = 100_000,
    shard_format: Annotated[
        ShardFormat,
        typer.Option(
            metavar="NAME",
            help="Files of a folder: npy, parquet, safetensors or jsonl.",
            rich_help_panel=OUTPUT,
        ),
    ] = ShardFormat.npy,
    devices: Annotated[
        str | None,
        typer.Option(
            metavar="all|N",
            help="Make the shards of a folder in one process for each GPU, or in N processes that share the cores. "
            "Default: in this process.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Make the shards of a folder on a Ray cluster, such as auto or ray://host:10001. Default: here.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Write the vector of every text of INPUT to a file.

    Row i of the output belongs to row i of the input; a blank line is the empty text and keeps its row. Files of type
    npy and safetensors hold the vectors alone (N, D); parquet and jsonl also hold the text and every other column.

    A folder is written shard by shard: after a kill the same command goes on where it stopped.
    """
    from textcl.data.sources import open_source
    from textcl.data.stream import stream_rows
    from textcl.data.vectors import vector_format
    from textcl.encoder.folder_hash import model_sha256
    from textcl.encoder.hub import find_model, name_anywhere
    from textcl.encoder.vector_folder import Share, VectorJob

    # What is wrong with the files is found in a moment; a model may take minutes to load.
    folder = _is_folder(output)
    if not folder:
        for name, value in (("--shard", shard), ("--devices", devices), ("--ray", ray)):
            if value is not None:
                raise UserError(
                    f"{name} makes the parts of a folder, but {output} is a file: end it in /"
                )
        vector_format(output, overwrite=overwrite)
    opened = open_source(source, split=split, format=format and format.value)
    columns = parse_columns(column, ["text"])
    rows = stream_rows(opened, columns=columns)
    first = next(rows, None)
    if first is None:
        raise UserError(f"{opened.name}: no row to encode")
    rows = chain([first], rows)
    log = log_console(quiet=quiet)
    if folder:
        job = VectorJob(
            model_sha256=model_sha256(find_model(model)),
            data_sha256=opened.sha256(),
            columns=columns,
            limit=limit,
            prompt=prompt,
            prompt_text=prompt_text,
            truncate_dim=truncate_dim,
            normalize=normalize,
            precision=precision and precision.value,
            dtype=dtype.value,
            format=shard_format.value,
            rows_per_shard=shard_rows,
        )
        encode_folder(
            partial(load_encoder, name_anywhere(model), backend and backend.value),
            opened,
            rows,
            Path(output),
            job,
            Share.parse(shard) if shard else Share(),
            partial(workers_of, devices, ray),
            log,
            overwrite=overwrite,
            batch_tokens=batch_tokens,
            quiet=quiet,
        )
        return
    from textcl.encoder.to_file import encode_rows

    options: EncodeOptions = {
        "normalize": normalize,
        "precision": precision and precision.value,
        "batch_tokens": batch_tokens,
    }
    encoder = load_encoder(model, backend and backend.value)
    try:
        with progress("encoding", "sentences", show=not quiet, console=log) as advance:
            summary = encode_rows(
                encoder,
                islice(rows, limit),
                output,
                schema=opened.schema(),
                overwrite=overwrite,
                progress=advance,
                prompt=prompt,
                prompt_text=prompt_text,
                truncate_dim=truncate_dim,
                dtype=dtype.value,
                **options,
            )
    except BrokenPipeError:  # whoever reads standard output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    log.print(summary.describe())


def _is_folder(output: str) -> bool:
    return output != "-" and (output.endswith("/") or not Path(output).suffix)


def load_encoder(model: str, backend: str | None) -> Encoder | ExportedEncoder:
    """The encoder that `model` names."""
    from textcl.export import load

    return load.load_encoder(model, backend)


def kept(parameters: Mapping[str, object]) -> str:
    """State of the output when the command is stopped."""
    output = str(parameters["output"])
    if output == "-":
        return "the output is incomplete"
    if _is_folder(output):
        return f"what is finished in {output} is kept: the same command goes on with the rest"
    return f"nothing of {output} was written"
