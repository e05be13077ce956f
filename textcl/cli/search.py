"""`textcl search` and `textcl neighbours`: the best documents of an index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textcl.cli.consoles import log_console, result_console, result_table
from textcl.cli.options import (
    DATA,
    MODEL,
    OUTPUT,
    Json,
    Overwrite,
    Quiet,
    TextColumn,
    parse_columns,
)
from textcl.errors import UserError
from textcl.terminal import counted

if TYPE_CHECKING:
    from rich.console import Console

    from textcl.retrieval.index import Index, SearchHit

EXAMPLES = """Examples:

textcl search index "heat transfer in slip flow"

textcl search index --queries questions.txt --top-k 100 -o hits.jsonl

textcl search index "slip flow" --threshold 0.5 --json

textcl search index --serve
"""

NEIGHBOUR_EXAMPLES = """Examples:

textcl neighbours index 184

textcl neighbours index 184 29 --top-k 3 --json
"""

_BLOCK = 1024
_SHOWN = 200

IndexFolder = Annotated[Path, typer.Argument(help="Folder that textcl index made.")]
TopK = Annotated[
    int,
    typer.Option("--top-k", "-k", min=1, metavar="N", help="Most documents for each query."),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        metavar="SCORE",
        help="Leave out documents with a lower score. Default: keep all.",
        rich_help_panel=OUTPUT,
    ),
]


def search_command(
    index: IndexFolder,
    query: Annotated[str | None, typer.Argument(help="Text to search for.")] = None,
    queries: Annotated[
        str | None,
        typer.Option(
            "--queries",
            metavar="FILE",
            help="File of queries, instead of one text. Default: none.",
            rich_help_panel=DATA,
        ),
    ] = None,
    column: TextColumn = None,
    top_k: TopK = 10,
    threshold: Threshold = None,
    model: Annotated[
        str | None,
        typer.Option(
            "-m",
            "--model",
            metavar="NAME|FOLDER",
            help="The model that the index was built with, if it has moved. Default: the one that the index names.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write a row for each hit to a file ending in .csv, .jsonl or .parquet. Default: print.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    as_json: Json = False,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve",
            help="Serve a page to search by hand, to this machine only, until Ctrl-C.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    port: Annotated[
        int,
        typer.Option(
            min=0,
            max=65535,
            metavar="N",
            help="Port of the page; 0 takes a free one.",
            rich_help_panel=OUTPUT,
        ),
    ] = 8080,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Show the documents of INDEX that are most similar to QUERY, best first.

    The model's prompt "query" goes before each query, if it has one.
    """
    from textcl.cli.index import load_model
    from textcl.data.records import record_format
    from textcl.retrieval.index import Index

    if [query is not None, queries is not None, serve].count(True) != 1:
        raise UserError(
            'name one thing to search for: "a text", --queries FILE, or --serve for a page'
        )
    if output is not None:
        record_format(output, overwrite=overwrite)
    texts = [query] if query is not None else _read(queries, column) if queries else []
    loaded = Index.load(index, load_model(model) if model else None)
    if serve:
        serve_page(loaded, port, threshold, log_console())
        return
    results = _search(loaded, texts, top_k, threshold)
    if output is None:
        show(results, as_json=as_json)
        return
    count = _write(results, output, overwrite=overwrite)
    log_console(quiet=quiet).print(f"{output}: {counted(count, 'hit')} of {len(texts):,} queries")


def serve_page(index: Index, port: int, threshold: float | None, log: Console) -> None:
    """Answer requests until the command is stopped."""
    from textcl.retrieval.serve import SearchServer

    _ = index.model  # loaded before the address is shown
    with SearchServer(index, port, threshold) as server:
        log.print(f"search {index.folder} at {server.address} (Ctrl-C ends it)")
        server.serve_forever()


def neighbours_command(
    index: IndexFolder,
    ids: Annotated[
        list[str], typer.Argument(metavar="ID", help="Ids of documents of the index, one or more.")
    ],
    top_k: TopK = 10,
    threshold: Threshold = None,
    as_json: Json = False,
) -> None:
    """Show the documents of INDEX that are most similar to some of its documents, best first; needs no model."""
    from textcl.retrieval.index import Index

    loaded = Index.load(index)
    hits = loaded.neighbours(ids, top_k, threshold=threshold)
    show(zip(ids, hits, strict=True), as_json=as_json)


Hits = Iterator[tuple[str, "list[SearchHit]"]]


def _search(index: Index, texts: Sequence[str], k: int, threshold: float | None) -> Hits:
    for start in range(0, len(texts), _BLOCK):
        block = texts[start : start + _BLOCK]
        yield from zip(block, index.search(block, k, threshold=threshold), strict=True)


def show(results: Hits, *, as_json: bool) -> None:
    """Print hits as a table for each query, or as a line of JSON for each."""
    from rich.markup import escape

    from textcl.data.json_text import to_json_line

    console = result_console()
    for query, hits in results:
        if as_json:
            rows = [{"id": hit.id, "score": hit.score, "text": hit.text} for hit in hits]
            typer.echo(to_json_line({"query": query, "hits": rows}))
            continue
        table = result_table("rank", "score", "id", "text", left=4)
        for rank, hit in enumerate(hits, 1):
            text = " ".join(hit.text.split())
            short = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
            cells = (str(rank), f"{hit.score:.3f}", hit.id, short)
            table.add_row(*map(escape, cells))
        console.print(query, markup=False, highlight=False)
        console.print(table if hits else "  no document", highlight=False)


def _read(source: str, column: list[str] | None) -> list[str]:
    from textcl.data.stream import stream_rows

    texts = [row.text for row in stream_rows(source, columns=parse_columns(column, ["text"]))]
    blank = [number for number, text in enumerate(texts, 1) if not text.strip()]
    if blank or not texts:
        where = f"row {blank[0]:,} is empty" if blank else "it has no row"
        raise UserError(f"{source}: a query is a text, but {where}: remove it")
    return texts


def _write(results: Hits, output: str, *, overwrite: bool) -> int:
    from textcl.data.records import open_records

    count = 0
    with open_records(output, overwrite=overwrite) as write:
        for number, (query, hits) in enumerate(results, 1):
            write(
                [
                    {"query_row": number, "query": query, "rank": rank, "score": hit.score}
                    | {"id": hit.id, "text": hit.text}
                    for rank, hit in enumerate(hits, 1)
                ]
            )
            count += len(hits)
    return count
