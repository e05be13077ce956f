"""`textcl train`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from textcl.cli.consoles import log_console, plain_console
from textcl.cli.options import (
    OUTPUT,
    TRAINING,
    Columns,
    Deduplicate,
    Dev,
    LabelSeparator,
    Limit,
    Quiet,
    Split,
    Start,
    TrainData,
    parse_columns,
)

if TYPE_CHECKING:
    from textcl.training.trained import Trained

Seeds = Annotated[
    str,
    typer.Option(
        metavar="0..4",
        help="Train once with each of these seeds, and print mean ± sd. Default: one run with the recipe's seed.",
        rich_help_panel=TRAINING,
    ),
]

EXAMPLES = """Examples:

textcl train --recipe quickstart

textcl train --recipe unsup-simcse --data sentences.txt --output runs/mine

textcl train --recipe unsup-simcse --data corpus.csv --column text=body

textcl train --recipe unsup-simcse --data sentences.txt --set batch_size=128

textcl train --recipe unsup-simcse --data sentences.txt --seeds 0..4

textcl train --recipe lcl --data train.jsonl --dev dev.jsonl -o runs/topics

textcl train --resume runs/mine
"""


def train_command(
    recipe: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE.py",
            help="Recipe to train with: a name from `textcl recipes`, or a file.",
            rich_help_panel=TRAINING,
        ),
    ] = "",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting of the recipe (see `textcl recipes show NAME`); may be repeated.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    seeds: Seeds = "",
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Go on with a run that was stopped, with its settings.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show what would be done, and stop.", rich_help_panel=TRAINING
        ),
    ] = False,
    model: Start = None,
    data: TrainData = None,
    dev: Dev = None,
    column: Columns = None,
    label_separator: LabelSeparator = "",
    split: Split = None,
    limit: Limit = None,
    deduplicate: Deduplicate = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Folder of the run. Default: a new one under runs/, named after recipe and time.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace the run in --output.", rich_help_panel=OUTPUT),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train an encoder or a classifier, and measure it.

    The run folder holds the best and the last model, the log, the scores and checkpoints.
    """
    from textcl.errors import UserError
    from textcl.training import session

    console = log_console(quiet=quiet and not dry_run)
    if resume is not None:
        given = (model, data, dev, output, set_, column, label_separator, split, limit)
        if any((*given, deduplicate, overwrite, seeds)):
            raise UserError(
                "--resume goes on with the settings of the run: leave the other options out (except --recipe FILE.py, "
                "if the run has a recipe file of its own)"
            )
        run = session.resume(resume, recipe=recipe or None, console=console)
        if quiet:
            _show(run)
        return
    if not recipe:
        raise UserError(
            "which recipe? --recipe NAME; `textcl recipes` lists them, `quickstart` needs nothing"
        )
    if seeds:
        if overwrite or dry_run:
            raise UserError("--seeds does not go with --overwrite or --dry-run")
        options = {"model": model, "data": data, "dev": dev, "column": column, "split": split}
        options |= {"limit": limit, "deduplicate": deduplicate}
        options |= {"label_separator": label_separator or None}
        train_seeds(recipe, set_ or [], seeds, output, options, quiet=quiet)
        return
    separated = [f"label_separator={label_separator}"] if label_separator else []
    run = session.train(
        recipe,
        model=model,
        data=" + ".join(data) if data else None,
        dev=dev,
        output=output,
        settings=[*(set_ or []), *separated],
        columns=parse_columns(column),
        split=split,
        limit=limit,
        deduplicate=deduplicate,
        overwrite=overwrite,
        dry_run=dry_run,
        console=console,
    )
    if quiet and run is not None:
        _show(run)


def _show(run: Trained) -> None:
    """The result of a run that was silent: its dev scores, and the folder of its best weights."""
    from textcl.training.accelerator import is_main_process

    at = run.position
    known = at.before is not None and at.best is not None
    scores = f"dev before {at.before:.2f}, after {at.best:.2f}; " if known else ""
    if is_main_process():
        plain_console().print(f"{scores}model: {run.folder.best}")


def train_seeds(
    recipe: str,
    settings: list[str],
    seeds: str,
    output: Path | None,
    options: Mapping[str, object],
    *,
    quiet: bool = False,
) -> None:
    """A sweep over nothing but seeds."""
    from textcl.cli.sweep import finish, new_path, train_options
    from textcl.errors import UserError
    from textcl.sweep.plan import Plan, parse_seeds
    from textcl.sweep.run import Sweep

    given = train_options(**options)
    plan = Plan.of(
        [recipe],
        settings,
        parse_seeds(seeds),
        model=cast("str | None", options["model"]),
        options=given,
    )
    if plan.varied:
        raise UserError(
            f"--set {next(iter(plan.varied))} has several values: settings are varied with textcl sweep"
        )
    finish(Sweep.create(output or new_path([recipe]), plan), jobs=1, quiet=quiet)


def kept(parameters: Mapping[str, object]) -> str:
    """State of the run when the command is stopped outside its loop, which saves by itself."""
    run = parameters["resume"] or parameters["output"] or "RUN"
    return (
        f"what the run saved is kept: textcl train --resume {run} goes on from its last checkpoint"
    )
