"""`textcl probe`: the shape of a model's space, several models side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textcl.cli.eval import Precision

if TYPE_CHECKING:
    from rich.console import Console

EXAMPLES = """Examples:

textcl probe runs/mine --before

textcl probe runs/a runs/b --data STSBenchmark-dev -o probe.json

textcl probe runs/mine --data ISEAR

textcl probe runs/mine --data emotions.jsonl --column label=emotion

textcl probe bert-base-uncased --data sentences.txt --whiten target --components 256
"""

_ROWS = {
    "spearman × 100": ("spearman", ".2f"),
    "alignment": ("alignment", ".4f"),
    "uniformity": ("uniformity", ".4f"),
    "tolerance": ("tolerance", ".4f"),
    "tolerance, joint": ("tolerance_joint", ".4f"),
    "mean cosine": ("mean_cosine", ".4f"),
    "top-1 share": ("top_share", ".4f"),
    "effective rank": ("effective_rank", ".1f"),
    "dimensions": ("dimensions", "d"),
}
_BARS = " ▁▂▃▄▅▆▇█"


def probe_command(
    model: Annotated[
        list[str], typer.Argument(help="Runs, model folders or names on the hub, one or more.")
    ],
    data: Annotated[
        str,
        typer.Option(
            help="An STS task, a task of labelled texts such as ISEAR, or a file or hub data set of pairs "
            "(with a score or not), labelled texts, or texts."
        ),
    ] = "STSBenchmark-dev",
    column: Annotated[
        list[str] | None, typer.Option(help="Where a role is in the data: label=emotion.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of a hub data set or folder.")] = None,
    before: Annotated[
        bool, typer.Option("--before", help="Also show what each run started from.")
    ] = False,
    whiten: Annotated[
        str | None,
        typer.Option(help="Whiten, fitted on the probed texts (target) or on those of a file."),
    ] = None,
    components: Annotated[
        int | None, typer.Option(min=1, help="Leading directions that whitening keeps; all.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws texts where there are over 10,000.")] = 0,
    precision: Annotated[
        Precision, typer.Option(help="float32 gives exact numbers, bfloat16 fast ones.")
    ] = Precision.float32,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print nothing but JSON on standard output.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Also write the JSON here.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output where it exists.")
    ] = False,
) -> None:
    """Show the shape of a model's space: alignment, uniformity, tolerance, anisotropy, spectrum, scores."""
    from rich.console import Console

    from textcl.cli.train import columns_of
    from textcl.errors import UserError
    from textcl.probe.models import probe_models, to_json

    if output and output.exists() and not overwrite:
        raise UserError(f"{output} exists already: name another file or add --overwrite")
    if components is not None and whiten is None:
        raise UserError("--components goes with --whiten target or --whiten FILE")
    log = Console(stderr=True, soft_wrap=True, highlight=False)
    result = probe_models(
        model,
        data,
        columns=columns_of(column),
        split=split,
        before=before,
        whiten=whiten,
        components=components,
        seed=seed,
        precision=precision.value,
        say=log.print,
    )
    text = to_json(result)
    if output:
        from textcl.data.files import atomic_write

        with atomic_write(output) as file:
            file.write(text.encode())
    if as_json:
        sys.stdout.write(text)
        return
    console = Console()
    if not console.is_terminal:
        console.width = 120
    _show(console, result)


def _show(console: Console, result: dict[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    data, models = result["data"], result["models"]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("")
    for one in models:
        table.add_column(escape(one["model"]), justify="right", overflow="fold")
    for label, (key, form) in _ROWS.items():
        if any(one[key] is not None for one in models):
            table.add_row(label, *(_form(one[key], form) for one in models))
    table.add_section()
    for kind in ("positives", "random", "hardest"):
        if any(kind in one["histograms"] for one in models):
            cells = (
                f"{_form(one['score_means'][kind], '.3f')} [dim]{_bars(one['histograms'][kind])}[/]"
                for one in models
            )
            table.add_row(f"cosine, {kind}", *cells)
    if models[0]["bands"]:
        table.add_section()
        for place, band in enumerate(models[0]["bands"]):
            bands = [one["bands"][place] for one in models]
            name = f"gold {band['low']:g} to {band['high']:g} ({band['pairs']} pairs)"
            cells = (f"{_form(b['mean'], '.3f')} [dim]{_bars(b['histogram'])}[/]" for b in bands)
            table.add_row(name, *cells)
    console.print(table)
    for line in _notes(data, models):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _notes(data: dict[str, Any], models: list[dict[str, Any]]) -> list[str]:
    drawn = (
        f", drawn from {data['rows']:,} rows with seed {data['seed']}" if data["sampled"] else ""
    )
    notes = [f"{data['source']}: {data['texts']:,} texts{drawn}"]
    if data["positives"]:
        notes.append(f"positives: {data['positives']}; lower alignment and uniformity are better")
    if data["labels"]:
        prior = "undefined" if data["class_prior"] is None else f"{data['class_prior']:.4f}"
        notes.append(f"{data['labels']} classes; share of pairs of one class {prior}")
    notes.append("bars: cosines from -1 to 1")
    white = dict.fromkeys(one["whitening"] for one in models if one["whitening"])
    return [*notes, *(f"whitened, fitted on {name}" for name in white)]


def _form(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _bars(counts: list[int]) -> str:
    """A histogram as text, two bins a character."""
    pairs = [a + b for a, b in zip(counts[::2], counts[1::2], strict=True)]
    most = max(pairs) or 1
    return "".join(_BARS[-(-n * (len(_BARS) - 1) // most)] for n in pairs)
