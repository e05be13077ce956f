"""`textcl sweep`: settings × recipes × seeds, each a run in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from textcl.cli.consoles import log_console, result_console, result_table
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
)

if TYPE_CHECKING:
    from textcl.sweep.comparison import Comparison
    from textcl.sweep.run import Sweep
    from textcl.sweep.table import Row

EXAMPLES = """Examples:

textcl sweep --recipe unsup-simcse --set temperature=0.02,0.05,0.1 --seeds 0..2

textcl sweep --recipe unsup-simcse,hard-contrastive --probe labelled.jsonl

textcl sweep --recipe unsup-simcse --search 20 --set temperature=log:0.01..0.5

textcl sweep --recipe mine.py --set temperature=0.05,0.1 --test STS12 --seeds 0..4

textcl sweep --resume sweeps/first
"""


COMPARISON = "Comparison"


def sweep_command(
    recipe: Annotated[
        str,
        typer.Option(
            metavar="NAME,…",
            help="Recipes, separated by commas; names or files.",
            rich_help_panel=TRAINING,
        ),
    ] = "",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE,…",
            help="Setting of all runs, or several values to compare; recipe:key=… for one recipe; may be repeated.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    seeds: Annotated[
        str,
        typer.Option(
            metavar="0..2", help="Seeds of every setting: 0..2 or 0,3,7.", rich_help_panel=TRAINING
        ),
    ] = "0",
    search: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Let Optuna search N settings in ranges such as log:0.01..0.5; 0 runs all combinations.",
            rich_help_panel=TRAINING,
        ),
    ] = 0,
    jobs: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Runs at the same time.", rich_help_panel=TRAINING),
    ] = 1,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="SWEEP", help="Go on with a sweep that was stopped.", rich_help_panel=TRAINING
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the runs, and stop.", rich_help_panel=TRAINING)
    ] = False,
    model: Start = None,
    data: TrainData = None,
    dev: Dev = None,
    column: Columns = None,
    label_separator: LabelSeparator = "",
    split: Split = None,
    limit: Limit = None,
    deduplicate: Deduplicate = False,
    metric: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Dev score that is compared: best (of all evaluations of a run) or last.",
            rich_help_panel=COMPARISON,
        ),
    ] = "best",
    test: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="Compare the best weights of each run on this held-out task or file instead, which selects nothing.",
            rich_help_panel=COMPARISON,
        ),
    ] = "",
    probe: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Probe every run on this data (see `textcl probe`); may be repeated.",
            rich_help_panel=COMPARISON,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Folder of the sweep. Default: a new one under sweeps/, named after recipes and time.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    discard_models: Annotated[
        bool,
        typer.Option(
            "--discard-models",
            help="Keep the numbers and delete the models.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Compare recipes and settings over seeds.

    Every combination of settings, recipes and seeds is a run in a process of its own; the table shows mean ± sd over
    seeds, with a paired test.
    """
    from textcl.errors import UserError
    from textcl.sweep.plan import Plan, parse_seeds
    from textcl.sweep.run import Sweep

    names = [name.strip() for name in recipe.split(",") if name.strip()]
    if resume is not None:
        given = (set_, model, data, dev, column, label_separator, split, limit, deduplicate)
        if any((*given, test, probe, output)):
            raise UserError(
                "--resume goes on with the plan of the sweep: leave the other options out (except --recipe FILE.py, "
                "if the sweep has recipe files of its own)"
            )
        finish(Sweep.open(resume, names), jobs, quiet=quiet)
        return
    if not names:
        raise UserError("which recipe? --recipe NAME or NAME,NAME; `textcl recipes` lists them")
    if search and test:
        raise UserError(
            "--test does not go with --search, which would choose its settings by it: score the best one afterwards"
        )
    plan = Plan.of(
        names,
        set_ or [],
        parse_seeds(seeds),
        model=model,
        options=train_options(
            model=model, data=data, dev=dev, column=column, split=split, limit=limit,
            deduplicate=deduplicate, label_separator=label_separator or None,
        ),
        probes=probe or [],
        metric=metric,
        test=test,
        keep_models=not discard_models,
        search=bool(search),
        trials=search,
    )  # fmt: skip
    if search:
        from textcl.sweep.search import space

        space(plan)  # found wrong now, not after the first run
    if dry_run:
        for cell in [] if search else plan.cells():
            typer.echo(cell.name)
        return
    finish(Sweep.create(output or new_path(names), plan), jobs, quiet=quiet)


def new_path(names: list[str]) -> Path:
    """A new folder under sweeps/."""
    short = "+".join(name.removesuffix(".py").rsplit("/", 1)[-1] for name in names)
    return Path("sweeps") / f"{short}-{datetime.now():%Y%m%d-%H%M%S}"


def train_options(**given: object) -> list[str]:
    """Options that are passed on to `textcl train`."""
    parts: list[str] = []
    for key, value in given.items():
        name = key.replace("_", "-")
        if value is None or value is False:
            continue
        for one in cast("list[object]", value) if isinstance(value, list) else [value]:
            parts += [f"--{name}"] if one is True else [f"--{name}", str(one)]
    return parts


def finish(sweep: Sweep, jobs: int, *, quiet: bool = False) -> None:
    """Run what is left of a sweep and show its table, also where runs failed."""
    console = log_console(quiet=quiet)
    with sweep.sole_writer():
        try:
            if sweep.plan.trials:
                from textcl.sweep.search import run_search

                run_search(sweep, jobs, report=console.print)
            else:
                sweep.run(jobs, report=console.print)
        finally:
            show(sweep)
            draw(sweep)


def show(sweep: Sweep) -> None:
    """The table on standard output."""
    from rich.markup import escape

    content = sweep.content()
    console = result_console()
    rows = content.table
    measured = "test" if sweep.plan.test else sweep.plan.metric
    shown = result_table("run", measured, "seeds", "failed")
    probed = {
        (data, key): None
        for row in rows
        for data in row.probes
        for key in ("uniformity", "tolerance", "alignment")
        if row.probed(data, key).n
    }
    for data, key in probed:
        shown.add_column(f"{key}, {escape(Path(data).stem)}", justify="right", overflow="fold")
    for row in rows:
        shown.add_row(
            escape(row.group),
            row.describe(2),
            ", ".join(row.scores),
            str(row.failed or ""),
            *(row.probed(data, key).describe(3) for data, key in probed),
        )
    console.print(shown)
    for test in content.tests:
        console.print(tested(test), soft_wrap=True, highlight=False, markup=False)
    if content.tests:
        name = content.tests[0].test
        console.print(f"{name} over seeds, p corrected for {len(content.tests)} tests (Holm)")
    console.print(sweep.score_note, soft_wrap=True, highlight=False, markup=False)
    if best := best_of(rows, sweep.plan.trials):
        console.print(f"best of the search: {best}", highlight=False, markup=False)
    console.print(
        f"mean ± standard deviation (n - 1) over seeds; all of it in {sweep.path / 'sweep.json'}",
        soft_wrap=True, highlight=False, markup=False,
    )  # fmt: skip


def draw(sweep: Sweep) -> None:
    """Write the figure where one number varies and the extra for figures is there."""
    from textcl.errors import UserError
    from textcl.figures.files import save
    from textcl.figures.sweeps import sweep_figure
    from textcl.sweep.curve import curve_of

    curve = curve_of(sweep.content().table)
    if curve is None:
        return
    try:
        figure = sweep_figure(curve, len(sweep.plan.seeds))
    except UserError as error:
        typer.echo(f"no figure: {error}", err=True)
        return
    for ending in ("svg", "png"):
        save(figure, sweep.path / f"sweep.{ending}")
    typer.echo(f"figure: {sweep.path / 'sweep.svg'}", err=True)


def tested(test: Comparison) -> str:
    """One line about a comparison."""
    p = "p undefined" if test.p_holm is None else f"p = {test.p_holm:.2g}"
    return (
        f"{test.row} − {test.against}: {test.difference:+.2f} ± {test.sd:.2f}, {p} "
        f"({test.wins} of {test.n} seeds higher)"
    )


def best_of(rows: Sequence[Row], trials: int) -> str:
    """The best setting of a search; nothing for a grid, whose table is read as a whole."""
    scored = [(row.mean, row) for row in rows if row.mean is not None]
    if not trials or not scored:
        return ""
    _, best = max(scored, key=lambda pair: pair[0])
    return f"{best.group}, {best.describe(2)}"


def kept(parameters: Mapping[str, object]) -> str:
    """State of the sweep when the command is stopped."""
    folder = parameters["resume"] or parameters["output"] or "SWEEP"
    return f"finished runs are kept: textcl sweep --resume {folder} goes on"
