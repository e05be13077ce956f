"""`textcl index`: a corpus that can be searched."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textcl.cli.consoles import log_console
from textcl.cli.options import (
    DATA,
    MODEL,
    OUTPUT,
    BatchTokens,
    FastPrecision,
    Overwrite,
    Quiet,
    Split,
    parse_columns,
    require_new_folder,
)
from textcl.errors import UserError
from textcl.terminal import counted

if TYPE_CHECKING:
    from rich.console import Console

    from textcl.encoder.encoder import Encoder
    from textcl.export.exported import ExportedEncoder
    from textcl.retrieval.build import Tools

EXAMPLES = """Examples:

textcl index corpus.jsonl -m RUN -o index

textcl index corpus.jsonl -m RUN -o small --dtype int8

textcl index corpus.csv -m RUN -o index --column text=body --column id=key

textcl index more.jsonl -o index --mode add

textcl index ids.txt -o index --mode remove
"""


class Dtype(StrEnum):
    """Number format that is searched."""

    float32 = "float32"
    float16 = "float16"
    int8 = "int8"
    binary = "binary"


class Kind(StrEnum):
    """Search method."""

    exact = "exact"
    hnsw = "hnsw"


class Mode(StrEnum):
    """Change to make to the documents of an index."""

    build = "build"
    add = "add"
    remove = "remove"


CorpusColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="text|id=NAME",
        help="Column that holds the text or the id. Default: text; _id or id, else the number of the row.",
        rich_help_panel=DATA,
    ),
]


def index_command(
    corpus: Annotated[
        str,
        typer.Argument(
            help="txt, csv, tsv, jsonl (also .gz, .xz), parquet, a folder of them or a hub data set; with --mode "
            "remove, a file of ids."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="FOLDER",
            help="Folder of the index: made by build, changed by add and remove.",
            rich_help_panel=OUTPUT,
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "-m",
            "--model",
            metavar="NAME|FOLDER",
            help="A run, a model folder, an export or a name on the hub. Default: the one that the index names.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    mode: Annotated[
        Mode,
        typer.Option(
            metavar="NAME",
            help="build makes the index; add and remove change one that exists.",
            rich_help_panel=OUTPUT,
        ),
    ] = Mode.build,
    dtype: Annotated[
        Dtype,
        typer.Option(
            metavar="NAME",
            help="Number format that is searched: float32, float16, int8 or binary; the best rows of the last two are "
            "scored again with float32 vectors.",
            rich_help_panel=OUTPUT,
        ),
    ] = Dtype.float32,
    index: Annotated[
        Kind,
        typer.Option(
            "--index",
            metavar="NAME",
            help="exact, or hnsw: fast for millions of documents, and misses some (needs the extra `hnsw`).",
            rich_help_panel=OUTPUT,
        ),
    ] = Kind.exact,
    column: CorpusColumns = None,
    split: Split = None,
    precision: FastPrecision = None,
    batch_tokens: BatchTokens = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Encode the documents of CORPUS into a folder that `textcl search` searches.

    The model's prompt "document" goes before each document, if it has one. A build that was stopped goes on where it
    was when it is started again; documents without a text are left out. In the layout of BEIR a title goes before its
    text.
    """
    from textcl.retrieval.index import Index

    log = log_console(quiet=quiet)
    columns = parse_columns(column, ["text", "id"])
    if mode is Mode.remove:
        loaded = Index.load(output)
        count = loaded.remove(read_ids(corpus, columns.get("id")))
        log.print(f"{output}: {counted(count, 'document')} removed, {len(loaded):,} left")
        return
    tools = tools_for(log, precision and precision.value, batch_tokens, quiet=quiet)
    if mode is Mode.add:
        loaded = Index.load(output, load_model(model) if model else None)
        count = loaded.add(corpus, columns=columns, split=split, tools=tools)
        log.print(f"{output}: {counted(count, 'document')} added, {len(loaded):,} in all")
        return
    if model is None:
        raise UserError("a new index needs a model: name it with -m")
    require_new_folder(output, overwrite=overwrite, inputs=[model, corpus])
    built = Index.build(
        load_model(model),
        corpus,
        output,
        name=model,
        dtype=dtype.value,
        kind=index.value,
        columns=columns,
        split=split,
        overwrite=overwrite,
        tools=tools,
    )
    size = sum(path.stat().st_size for path in output.iterdir()) / 1e6
    log.print(
        f"{output}: {counted(len(built), 'document')}, "
        f"{built.manifest.dimension} dimensions, {dtype.value}, {size:,.1f} MB"
    )


def read_ids(source: str, column: str | None) -> list[str]:
    """The ids in a file: one on each line of a text file, else a column.

    Raises:
        UserError: If the file cannot be read or has no id.
    """
    from textcl.data.stream import stream_rows

    columns = {"text": column} if column else None
    ids = [row.text for row in stream_rows(source, columns=columns) if row.text]
    if not ids:
        raise UserError(f"{source} has no id")
    return ids


def load_model(model: str) -> Encoder | ExportedEncoder:
    """The encoder that `model` names."""
    from textcl.export import load

    return load.load_encoder(model)


def tools_for(
    log: Console, precision: str | None, batch_tokens: int | None, *, quiet: bool
) -> Tools:
    """Tools that encode documents and show progress."""
    from textcl.retrieval.build import Tools

    return Tools(
        batch_tokens=batch_tokens,
        precision=precision,
        show=log.is_terminal and not quiet,
        console=log,
        log=log.print,
    )


def kept(parameters: Mapping[str, object]) -> str:
    """State of the index when the command is stopped."""
    output = Path(str(parameters["output"]))
    if parameters["mode"] != Mode.build:
        return f"{output} is as it was"
    state = "is as it was" if output.exists() else "is not there yet"
    return f"the same command goes on where it was; {output} {state}"
