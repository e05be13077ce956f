"""`textcl sweep`: settings × recipes × seeds, each a run in a process of its own."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from textcl.sweep.run import Sweep

EXAMPLES = """Examples:

textcl sweep --recipe unsup-simcse --data sentences.txt --set temperature=0.02,0.05,0.1 --seeds 0..2 -o sweeps/first

textcl sweep --recipe unsup-simcse,hard-contrastive --set temperature=0.05,0.2 --probe labelled.jsonl

textcl sweep --recipe unsup-simcse --search 20 --set temperature=log:0.01..0.5 --set batch_size=64,128

textcl sweep --resume sweeps/first
"""


def sweep_command(
    recipe: Annotated[str, typer.Option(help="Recipes, separated by commas; names or files.")] = "",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="key=value for all runs, key=value,value to vary it; recipe:key=… for one recipe.",
        ),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds of every setting: 0..2 or 0,3,7.")] = "0",
    model: Annotated[str | None, typer.Option(help="Model to start from.")] = None,
    data: Annotated[
        str | None, typer.Option(help="File, folder or hub data set; `sample` is textcl's own.")
    ] = None,
    dev: Annotated[
        str | None, typer.Option(help="What selects the weights; empty: nothing.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="Where a role is in the data: anchor=premise.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of a hub data set or folder.")] = None,
    limit: Annotated[int | None, typer.Option(help="Read only so many rows.")] = None,
    deduplicate: Annotated[bool, typer.Option(help="Leave exact duplicates out.")] = False,
    probe: Annotated[
        list[str] | None,
        typer.Option(help="Probe every run on this data; may be given again. See `textcl probe`."),
    ] = None,
    metric: Annotated[
        str, typer.Option(help="Entry of the runs' scores.json that is compared, higher is better.")
    ] = "best",
    discard_models: Annotated[
        bool, typer.Option("--discard-models", help="Keep no encoders, only numbers.")
    ] = False,
    search: Annotated[
        int,
        typer.Option(
            min=0, help="Let Optuna search so many settings in ranges such as log:0.01..0.5."
        ),
    ] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time.")] = 1,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Sweep folder.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this sweep.")] = None,
    dry_run: Annotated[bool, typer.Option(help="List the runs, and stop.")] = False,
) -> None:
    """Run settings × recipes × seeds, and compare them: mean ± sd over seeds, with a paired test."""
    from textcl.errors import UserError
    from textcl.sweep.plan import Plan, parse_seeds
    from textcl.sweep.run import Sweep

    if resume is not None:
        given = (recipe, set_, model, data, dev, column, split, limit, deduplicate, probe, output)
        if any(given):
            raise UserError(
                "--resume goes on with the plan of the sweep: leave the other options out"
            )
        finish(Sweep.open(resume), jobs)
        return
    names = [name.strip() for name in recipe.split(",") if name.strip()]
    if not names:
        raise UserError("which recipe? --recipe NAME or NAME,NAME; `textcl recipes` lists them")
    plan = Plan.of(
        names,
        set_ or [],
        parse_seeds(seeds),
        model=model,
        options=train_options(
            model=model, data=data, dev=dev, column=column, split=split, limit=limit,
            deduplicate=deduplicate,
        ),
        probes=probe or [],
        metric=metric,
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
    finish(Sweep.create(output or new_path(names), plan), jobs)


def new_path(names: list[str]) -> Path:
    """A new folder under sweeps/."""
    short = "+".join(name.removesuffix(".py").rsplit("/", 1)[-1] for name in names)
    return Path("sweeps") / f"{short}-{datetime.now():%Y%m%d-%H%M%S}"


def train_options(**given: Any) -> list[str]:
    """What `textcl train` gets of these options."""
    parts: list[str] = []
    for name, value in given.items():
        if value is None or value is False:
            continue
        for one in value if isinstance(value, list) else [value]:
            parts += [f"--{name}"] if one is True else [f"--{name}", str(one)]
    return parts


def finish(sweep: Sweep, jobs: int) -> None:
    """Run what is left of a sweep and show its table, also where runs failed."""
    from rich.console import Console

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        if sweep.plan.trials:
            from textcl.sweep.search import run_search

            run_search(sweep, jobs, say=lambda text: console.print(text, markup=False))
        else:
            sweep.run(jobs, say=lambda text: console.print(text, markup=False))
    finally:
        show(sweep)
        draw(sweep)


def show(sweep: Sweep) -> None:
    """The table on standard output."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    content = sweep.to_dict()
    console = Console()
    if not console.is_terminal:
        console.width = 120
    rows = content["table"]
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    shown.add_column("run")
    for name in (sweep.plan.metric, "seeds", "failed"):
        shown.add_column(name, justify="right")
    probed = {
        (data, key): None
        for row in rows
        for data, numbers in row["probes"].items()
        for key in ("uniformity", "tolerance", "alignment")
        if numbers[key]["n"]
    }
    for data, key in probed:
        shown.add_column(f"{key}, {escape(Path(data).stem)}", justify="right", overflow="fold")
    for row in rows:
        numbers = (row["probes"].get(data, {}).get(key) for data, key in probed)
        shown.add_row(
            escape(row["group"]),
            spread(row, 2),
            ", ".join(row["scores"]),
            str(row["failed"] or ""),
            *(spread(number, 3) if number else "–" for number in numbers),
        )
    console.print(shown)
    for test in content["tests"]:
        console.print(tested(test), soft_wrap=True, highlight=False, markup=False)
    if content["tests"]:
        name = content["tests"][0]["test"]
        console.print(f"{name} over seeds, p corrected for {len(content['tests'])} tests (Holm)")
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
    from textcl.figures.sweeps import points, sweep_figure

    content = sweep.to_dict()
    if not points(content)[0]:
        return
    try:
        figure = sweep_figure(content)
    except UserError as error:
        typer.echo(f"no figure: {error}", err=True)
        return
    for ending in ("svg", "png"):
        save(figure, sweep.path / f"sweep.{ending}")
    typer.echo(f"figure: {sweep.path / 'sweep.svg'}", err=True)


def tested(test: Any) -> str:
    """One line about a comparison."""
    p = "p undefined" if test["p_holm"] is None else f"p = {test['p_holm']:.2g}"
    return (
        f"{test['row']} − {test['against']}: {test['difference']:+.2f} ± {test['sd']:.2f}, {p} "
        f"({test['wins']} of {test['n']} seeds higher)"
    )


def best_of(rows: list[Any], trials: int) -> str:
    """The best setting of a search; nothing for a grid, whose table is read as a whole."""
    scored = [row for row in rows if row["mean"] is not None]
    if not trials or not scored:
        return ""
    best = max(scored, key=lambda row: row["mean"])
    return f"{best['group']}, {spread(best, 2)}"


def spread(numbers: Any, digits: int) -> str:
    """Mean ± standard deviation."""
    if numbers["mean"] is None:
        return "–"
    sd = "" if numbers["sd"] is None else f" ± {numbers['sd']:.{digits}f}"
    return f"{numbers['mean']:.{digits}f}{sd}"
