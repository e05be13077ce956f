"""`textcl report`: what training did, on one page."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from textcl.cli.consoles import log_console
from textcl.cli.options import (
    DATA,
    OUTPUT,
    Columns,
    Overwrite,
    Quiet,
    Split,
    parse_columns,
    require_new_file,
)

EXAMPLES = """Examples:

textcl report runs/mine

textcl report runs/a runs/b -o both.html --suite sts --beside "bert-base unsup"

textcl report runs/emotions --data test.jsonl --figures figures

textcl report runs/temperatures -o sweep.html

textcl report runs/mine --atlas texts.parquet
"""


class MapKind(StrEnum):
    """Method that lays texts out in a plane."""

    pca = "pca"
    umap = "umap"


def report_command(
    run: Annotated[
        list[Path], typer.Argument(help="Folders of runs and sweeps, finished or not, one or more.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="HTML file to write; it opens without a network.",
            rich_help_panel=OUTPUT,
        ),
    ] = Path("report.html"),
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Texts on which the embedding space is shown: an STS task, a file, folder or hub data set. "
            "Default: the dev set.",
            rich_help_panel=DATA,
        ),
    ] = None,
    column: Columns = None,
    split: Split = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Also score the models on these tasks, such as sts; may be repeated.",
            rich_help_panel=DATA,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Seed of all samples.", rich_help_panel=DATA)
    ] = 0,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORDS",
            help="Also show published rows whose model matches these words; may be repeated.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    map_: Annotated[
        list[MapKind] | None,
        typer.Option(
            "--map",
            metavar="NAME",
            help="Map of the texts: pca or umap; may be repeated. Default: pca, and umap if it is installed.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    points: Annotated[
        int,
        typer.Option(
            min=4, metavar="N", help="Largest number of points of a map.", rich_help_panel=OUTPUT
        ),
    ] = 1000,
    figures: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Also write every figure as PNG and SVG. Default: no folder.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    atlas: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write a parquet file for Apple's embedding-atlas. Default: no file.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Show what training did, on one page.

    Scores, curves, what the loss does to the embedding space, maps and neighbours. Needs the extra `report`, which
    holds Altair and vl-convert.
    """
    from textcl.data.files import check_writable
    from textcl.errors import UserError
    from textcl.report.write import ReportOptions, write_report

    for place in (output, atlas):
        require_new_file(place, overwrite=overwrite)
    if figures:
        check_writable(figures)
    if output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"a report is an HTML page: name a .html file, not {output}")
    columns = parse_columns(column)
    if not data and (columns or split):
        raise UserError("--column and --split describe --data: name the data too")
    log = log_console(quiet=quiet)
    options = ReportOptions(
        data=data,
        columns=columns,
        split=split,
        suites=suite or (),
        beside=beside or (),
        maps=[kind.value for kind in map_ or ()],
        points=points,
        seed=seed,
    )
    drawn = write_report(run, output, options, figures=figures, atlas=atlas, log=log.print)
    size = output.stat().st_size / 1e6
    log.print(
        f"{output}: {len(drawn)} figures, {size:.1f} MB, opens in a browser without a network"
    )
