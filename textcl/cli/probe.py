"""`textcl probe`: the shape of a model's space, several models side by side."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from textcl.cli.consoles import log_console, result_console, result_table
from textcl.cli.options import (
    DATA,
    MODEL,
    Columns,
    Components,
    ExactPrecision,
    Json,
    JsonFile,
    Overwrite,
    Precision,
    Quiet,
    Split,
    Whiten,
    parse_columns,
    require_new_file,
    write_text,
)

if TYPE_CHECKING:
    from rich.console import Console

    from textcl.probe.result import ProbedModel, ProbeResult

EXAMPLES = """Examples:

textcl probe runs/mine --before

textcl probe runs/a runs/b --data STSBenchmark-dev -o probe.json

textcl probe runs/mine --data ISEAR

textcl probe runs/mine --data emotions.jsonl --column label=emotion

textcl probe bert-base-uncased --data sentences.txt --whiten target --components 256
"""

_ROWS: dict[str, tuple[Callable[[ProbedModel], float | None], str]] = {
    "spearman × 100": (lambda one: one.spearman, ".2f"),
    "alignment": (lambda one: one.alignment, ".4f"),
    "uniformity": (lambda one: one.uniformity, ".4f"),
    "tolerance": (lambda one: one.tolerance, ".4f"),
    "tolerance, joint": (lambda one: one.tolerance_joint, ".4f"),
    "mean cosine": (lambda one: one.mean_cosine, ".4f"),
    "top-1 share": (lambda one: one.top_share, ".4f"),
    "effective rank": (lambda one: one.effective_rank, ".1f"),
    "dimensions": (lambda one: one.dimensions, "d"),
}
_BARS = " ▁▂▃▄▅▆▇█"


def probe_command(
    model: Annotated[
        list[str], typer.Argument(help="Runs, model folders or names on the hub, one or more.")
    ],
    data: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="An STS task, a task of labelled texts such as ISEAR, or a file or hub data set of pairs "
            "(scored or not), labelled texts, or texts.",
            rich_help_panel=DATA,
        ),
    ] = "STSBenchmark-dev",
    column: Columns = None,
    split: Split = None,
    scale: Annotated[
        str | None,
        typer.Option(
            metavar="LOW..HIGH",
            help="Ends of the scale of gold scores; a pair is positive above 0.8 of it.",
            show_default="0..1 or 0..5",
            rich_help_panel=DATA,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Seed of the sample, if there are over 10,000 texts.",
            rich_help_panel=DATA,
        ),
    ] = 0,
    before: Annotated[
        bool,
        typer.Option(
            "--before",
            help="Also show the model that each run started from.",
            rich_help_panel=MODEL,
        ),
    ] = False,
    whiten: Whiten = None,
    components: Components = None,
    precision: ExactPrecision = Precision.float32,
    as_json: Json = False,
    output: JsonFile = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Show the shape of a model's embedding space, several models side by side.

    Alignment, uniformity, tolerance, anisotropy, spectrum and, for graded pairs, scores.
    """
    from textcl.data.json_text import to_json
    from textcl.errors import UserError
    from textcl.probe.models import probe_models
    from textcl.probe.texts import parse_scale

    require_new_file(output, overwrite=overwrite)
    if components is not None and whiten is None:
        raise UserError("--components goes with --whiten target or --whiten FILE")
    log = log_console(quiet=quiet)
    result = probe_models(
        model,
        data,
        columns=parse_columns(column),
        split=split,
        scale=None if scale is None else parse_scale(scale),
        before=before,
        whiten=whiten,
        components=components,
        seed=seed,
        precision=precision.value,
        log=log.print,
    )
    text = to_json(result)
    write_text(output, text)
    if as_json:
        sys.stdout.write(text)
        return
    _show(result_console(), result)


def _show(console: Console, result: ProbeResult) -> None:
    models = result.models
    table = result_table("", *(one.model for one in models))
    for label, (number, form) in _ROWS.items():
        if any(number(one) is not None for one in models):
            table.add_row(label, *(_form(number(one), form) for one in models))
    table.add_section()
    for kind in ("positives", "random", "hardest"):
        if any(kind in one.histograms for one in models):
            cells = (
                f"{_form(one.score_means[kind], '.3f')} [dim]{_bars(one.histograms[kind])}[/]"
                for one in models
            )
            table.add_row(f"cosine, {kind}", *cells)
    if models[0].bands:
        table.add_section()
        for place, band in enumerate(models[0].bands):
            bands = [one.bands[place] for one in models]
            name = f"gold {band.low:g} to {band.high:g} ({band.pairs} pairs)"
            cells = (f"{_form(b.mean, '.3f')} [dim]{_bars(b.histogram)}[/]" for b in bands)
            table.add_row(name, *cells)
    console.print(table)
    for line in _notes(result):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _notes(result: ProbeResult) -> list[str]:
    data = result.data
    drawn = f", drawn from {data.rows:,} rows with seed {data.seed}" if data.sampled else ""
    notes = [f"{data.source}: {data.texts:,} texts{drawn}"]
    if data.positives:
        notes.append(f"positives: {data.positives}; lower alignment and uniformity are better")
    if data.labels:
        prior = "undefined" if data.class_prior is None else f"{data.class_prior:.4f}"
        notes.append(f"{data.labels} classes; share of pairs of one class {prior}")
    notes.append("bars: cosines from -1 to 1")
    white = dict.fromkeys(one.whitening for one in result.models if one.whitening)
    return [*notes, *(f"whitened, fitted on {name}" for name in white)]


def _form(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _bars(counts: Sequence[int]) -> str:
    """A histogram as text, two bins a character."""
    pairs = [a + b for a, b in zip(counts[::2], counts[1::2], strict=True)]
    most = max(pairs) or 1
    return "".join(_BARS[-(-n * (len(_BARS) - 1) // most)] for n in pairs)
