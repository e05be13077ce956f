"""`textcl train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

EXAMPLES = """Examples:

textcl train --recipe quickstart

textcl train --recipe unsup-simcse --model bert-base-uncased --data sentences.txt --output runs/mine

textcl train --recipe unsup-simcse --data corpus.csv --column text=body --set batch_size=128 --set temperature=0.1

textcl train --recipe unsup-simcse --data sentences.txt --seeds 0..4

textcl train --recipe lcl --data train.jsonl --dev dev.jsonl --output runs/classifier

textcl train --resume runs/mine
"""


def train_command(
    recipe: Annotated[
        str, typer.Option(help="Name of a recipe (see `textcl recipes`), or a file with one.")
    ] = "",
    model: Annotated[str | None, typer.Option(help="Model to start from.")] = None,
    data: Annotated[
        str | None, typer.Option(help="File, folder or hub data set; `sample` is textcl's own.")
    ] = None,
    dev: Annotated[
        str | None,
        typer.Option(
            help="What selects the weights: a task or file of graded pairs; for a classifier a file of labelled rows, "
            "or the share of the training rows to hold out; empty: none."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Run folder.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting that differs: key=value.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="Where a role is in the data: anchor=premise.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of a hub data set or folder.")] = None,
    limit: Annotated[int | None, typer.Option(help="Read only so many rows.")] = None,
    deduplicate: Annotated[bool, typer.Option(help="Leave exact duplicates out.")] = False,
    seeds: Annotated[
        str,
        typer.Option(
            help="Train once with each of these seeds, such as 0..4; mean ± sd at the end."
        ),
    ] = "",
    resume: Annotated[Path | None, typer.Option(help="Go on with this run.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the run in --output.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Show what would be done, and stop.")] = False,
) -> None:
    """Train a sentence encoder, or a classifier, and leave it, measured, in a run folder."""
    from textcl.errors import UserError
    from textcl.training import session

    if resume is not None:
        if any(
            (
                model,
                data,
                dev,
                output,
                set_,
                column,
                split,
                limit,
                deduplicate,
                overwrite,
                seeds,
            )
        ):
            raise UserError(
                "--resume goes on with the settings of the run: leave the other options out (--recipe FILE.py is "
                "asked for where the run has a recipe file of its own)"
            )
        session.resume(resume, recipe=recipe or None)
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
        train_seeds(recipe, set_ or [], seeds, output, options)
        return
    session.train(
        recipe,
        model=model,
        data=data,
        dev=dev,
        output=output,
        settings=set_ or [],
        columns=columns_of(column),
        split=split,
        limit=limit,
        deduplicate=deduplicate,
        overwrite=overwrite,
        dry_run=dry_run,
    )


def train_seeds(
    recipe: str, settings: list[str], seeds: str, output: Path | None, options: dict[str, Any]
) -> None:
    """A sweep over nothing but seeds."""
    from textcl.cli.sweep import finish, new_path, train_options
    from textcl.errors import UserError
    from textcl.sweep.plan import Plan, parse_seeds
    from textcl.sweep.run import Sweep

    given = train_options(**options)
    plan = Plan.of([recipe], settings, parse_seeds(seeds), model=options["model"], options=given)
    if plan.varied:
        raise UserError(
            f"--set {next(iter(plan.varied))} has several values: settings are varied with textcl sweep"
        )
    finish(Sweep.create(output or new_path([recipe]), plan), jobs=1)


def columns_of(options: list[str] | None) -> dict[str, str]:
    """Role to column name, of `--column role=name` given any number of times."""
    from textcl.errors import UserError

    columns: dict[str, str] = {}
    for text in options or []:
        role, _, name = text.partition("=")
        if not role.strip() or not name.strip():
            raise UserError(f"expected --column role=name, got {text!r}")
        columns[role.strip()] = name.strip()
    return columns
