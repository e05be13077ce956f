"""`textcl report`: what training did, on one page."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

EXAMPLES = """Examples:

textcl report runs/mine

textcl report runs/a runs/b -o both.html --suite sts --beside "bert-base unsup"

textcl report runs/emotions --data test.jsonl --figures figures

textcl report runs/temperatures -o sweep.html

textcl report runs/mine --atlas texts.parquet
"""


class MapKind(StrEnum):
    """How texts are laid out in a plane."""

    pca = "pca"
    umap = "umap"


def report_command(
    run: Annotated[
        list[Path], typer.Argument(help="Folders of runs and sweeps, finished or not, one or more.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The page; opens offline.")] = Path(
        "report.html"
    ),
    data: Annotated[
        str | None,
        typer.Option(
            help="Texts that the space is shown on: an STS task, a file, folder or hub data set; the dev set otherwise."
        ),
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="Where a role is in --data: label=emotion.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of --data.")] = None,
    suite: Annotated[
        list[str] | None, typer.Option(help="Also score the models on these tasks, such as sts.")
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(help="Published rows to show: those whose model matches these words."),
    ] = None,
    map_: Annotated[
        list[MapKind] | None,
        typer.Option("--map", help="pca or umap; pca, and umap where it is installed, otherwise."),
    ] = None,
    points: Annotated[int, typer.Option(min=4, help="Most points of a map.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    figures: Annotated[
        Path | None, typer.Option(help="Folder for a PNG and an SVG of every figure.")
    ] = None,
    atlas: Annotated[
        Path | None, typer.Option(help="Parquet file for Apple's embedding-atlas.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output where it exists.")
    ] = False,
) -> None:
    """Show what training did: scores, curves, what the loss does to the space, maps and neighbours, on one page.

    Needs the extra `report`, which holds Altair and vl-convert.
    """
    from textcl.errors import UserError
    from textcl.report.write import Wanted, write_report

    for place in (output, atlas):
        if place and place.exists() and not overwrite:
            raise UserError(f"{place} exists already: name another file or add --overwrite")
    if output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"a report is an HTML page: name a .html file, not {output}")
    columns: dict[str, str] = {}
    for text in column or []:
        role, _, name = text.partition("=")
        if not role.strip() or not name.strip():
            raise UserError(f"expected --column role=name, got {text!r}")
        columns[role.strip()] = name.strip()
    if not data and (columns or split):
        raise UserError("--column and --split tell about --data: name the data too")
    log = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    wanted = Wanted(
        data=data,
        columns=columns,
        split=split,
        suites=suite or (),
        beside=beside or (),
        maps=[kind.value for kind in map_ or ()],
        points=points,
        seed=seed,
    )
    drawn = write_report(run, output, wanted, figures=figures, atlas=atlas, say=log.print)
    size = output.stat().st_size / 1e6
    log.print(
        f"{output}: {len(drawn)} figures, {size:.1f} MB, opens in a browser without a network"
    )
