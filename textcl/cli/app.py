"""The commands."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated

import typer

from textcl.cli import (
    calibrate,
    encode,
    export,
    index,
    mine,
    predict,
    probe,
    recipes,
    reject,
    report,
    review,
    search,
    sweep,
    train,
)
from textcl.cli import eval as evaluate
from textcl.cli.command import Debug, Group, Kept, Offline, stoppable
from textcl.cli.options import GENERAL
from textcl.terminal import reflowed
from textcl.versions import own_version

app = typer.Typer(
    name="textcl",
    cls=Group,
    help="Train sentence encoders and text classifiers by contrastive learning, and measure them.",
    epilog="""Examples:

textcl train --recipe quickstart

textcl eval RUN --suite sts

textcl encode RUN sentences.txt -o vectors.npy

`textcl COMMAND --help` shows the options of a command, with examples.
""",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _add(
    name: str, command: Callable[..., None], examples: str, panel: str, kept: Kept | None = None
) -> None:
    cls = stoppable(kept or (lambda parameters: "nothing was written"))
    text = reflowed(inspect.getdoc(command) or "")
    app.command(name, cls=cls, help=text, epilog=examples, rich_help_panel=panel)(command)


_TRAIN, _USE, _MEASURE = "Train", "Use a model", "Measure"
_add("train", train.train_command, train.EXAMPLES, _TRAIN, train.kept)
_add("sweep", sweep.sweep_command, sweep.EXAMPLES, _TRAIN, sweep.kept)
_add("recipes", recipes.recipes_command, recipes.EXAMPLES, _TRAIN)
_add("mine", mine.mine_command, mine.EXAMPLES, _TRAIN, mine.kept)
_add("encode", encode.encode_command, encode.EXAMPLES, _USE, encode.kept)
_add("predict", predict.predict_command, predict.EXAMPLES, _USE, encode.kept)
_add("calibrate", calibrate.calibrate_command, calibrate.EXAMPLES, _USE, calibrate.kept)
_add("reject", reject.reject_command, reject.EXAMPLES, _USE, calibrate.kept)
_add("export", export.export_command, export.EXAMPLES, _USE, export.kept)
_add("index", index.index_command, index.EXAMPLES, _USE, index.kept)
_add("search", search.search_command, search.EXAMPLES, _USE)
_add("neighbours", search.neighbours_command, search.NEIGHBOUR_EXAMPLES, _USE)
_add("eval", evaluate.eval_command, evaluate.EXAMPLES, _MEASURE)
_add("probe", probe.probe_command, probe.EXAMPLES, _MEASURE)
_add("review", review.review_command, review.EXAMPLES, _MEASURE)
_add("report", report.report_command, report.EXAMPLES, _MEASURE)


def _version(value: bool) -> bool:
    if value:
        typer.echo(f"textcl {own_version()}")
        raise typer.Exit
    return value


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_version,
            is_eager=True,
            help="Print the version.",
            rich_help_panel=GENERAL,
        ),
    ] = False,
    offline: Offline = False,
    debug: Debug = False,
) -> None:
    """Train sentence encoders and text classifiers by contrastive learning, and measure them."""
