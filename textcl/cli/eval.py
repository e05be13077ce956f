"""`textcl eval`: score a model on benchmarks, every number with its protocol."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from textcl.cli.options import (
    DATA,
    OUTPUT,
    BatchTokens,
    Columns,
    Components,
    ExactPrecision,
    Json,
    JsonFile,
    Overwrite,
    Precision,
    Quiet,
    Whiten,
    log_console,
    parse_columns,
    require_new_file,
    result_console,
    result_table,
    write_text,
)

if TYPE_CHECKING:
    from textcl.evaluation.benchmarks import EncodeWith, Scores
    from textcl.evaluation.benchmarks import Whiten as Whitened
    from textcl.evaluation.published import PublishedRow


_SHORT = {"unsupervised": "unsup", "supervised-nli": "sup on NLI", "none": "not trained"}


class Aggregation(StrEnum):
    """How the subsets of a task become one number."""

    all = "all"
    mean = "mean"
    wmean = "wmean"


EXAMPLES = """Examples:

textcl eval RUN

textcl eval bert-base-uncased --beside "bert-base unsup"

textcl eval RUN --task STSBenchmark-dev --json

textcl eval RUN --whiten target --components 256

textcl eval CLASSIFIER --suite emotion

textcl eval CLASSIFIER --data test.csv --figures pictures
"""


def eval_command(
    model: Annotated[
        str, typer.Argument(help="A run, a model folder, an export or a name on the hub.")
    ],
    suite: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Tasks that belong together: sts or emotion; may be repeated. Default: sts.",
            rich_help_panel=DATA,
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A single task, such as STSBenchmark-dev or ISEAR; may be repeated.",
            rich_help_panel=DATA,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Score a classifier on your own texts: a file with text and label.",
            rich_help_panel=DATA,
        ),
    ] = None,
    column: Columns = None,
    lcl_preparation: Annotated[
        bool,
        typer.Option(
            "--lcl-preparation",
            help="Clean the texts of tasks as the code of LCL does.",
            rich_help_panel=DATA,
        ),
    ] = False,
    aggregation: Annotated[
        Aggregation,
        typer.Option(
            metavar="NAME",
            help="How the subsets of a task become one number: all (pairs pooled, as in most papers), mean or wmean.",
            rich_help_panel=DATA,
        ),
    ] = Aggregation.all,
    whiten: Whiten = None,
    components: Components = None,
    precision: ExactPrecision = Precision.float32,
    batch_tokens: BatchTokens = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORDS",
            help="Also show published rows of the same protocol whose model matches these words; may be repeated.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Draw a classifier's confusions and calibration as PNG and SVG. Default: not drawn.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    as_json: Json = False,
    output: JsonFile = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Score an encoder on STS tasks, or a classifier on labelled texts.

    The suite sts is STS12-16, STS-B and SICK-R. The data of tasks comes from the folder that TEXTCL_DATA names, or from
    the hub. A classifier is scored on the tasks of the suite that have its classes, or on a file.
    """
    import json

    from textcl.cli.eval_classifier import Request, eval_classifier, labelled_tasks
    from textcl.errors import UserError
    from textcl.evaluation.tasks import task_names

    if data and (suite or task):
        raise UserError("--data scores a classifier on one file: leave --suite and --task out")
    names = task_names([*(suite or ([] if task or data else ["sts"])), *(task or [])])
    require_new_file(output, overwrite=overwrite)
    # The data first: a mistake there shows in a second, a model may take minutes to load.
    labelled = labelled_tasks(names, lcl_preparation)
    if data or labelled:
        if whiten:
            raise UserError("--whiten is for encoders on graded pairs: leave it out")
        columns = parse_columns(column, ["text", "label", "labels"])
        request = Request(model, labelled, data, columns, not task, tuple(beside or ()))
        content, show = eval_classifier(request, figures, precision.value, batch_tokens, quiet)
    else:
        if figures or column or lcl_preparation:
            raise UserError("--figures, --column and --lcl-preparation are for classifiers")
        content, show = _eval_encoder(
            model, names, beside or [], aggregation, whiten, components, precision, batch_tokens,
            quiet,
        )  # fmt: skip
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(output, text)
    if as_json:
        sys.stdout.write(text)
    else:
        show(result_console())


def _eval_encoder(
    model: str,
    names: list[str],
    beside: list[str],
    aggregation: Aggregation,
    whiten: str | None,
    components: int | None,
    precision: Precision,
    batch_tokens: int | None,
    quiet: bool,
) -> tuple[dict[str, Any], Callable[[Console], None]]:
    """What --json prints, and what shows the same on a console."""
    from textcl.evaluation.benchmarks import evaluate
    from textcl.evaluation.tasks import load_task

    tasks = [load_task(name) for name in names]
    fit = whitening(whiten, components)
    encoder = _load(model, precision.value, batch_tokens, quiet)
    scores = evaluate(encoder, tasks, aggregation=aggregation.value, whiten=fit(encoder))
    log = log_console(quiet=quiet)
    speed = scores.sentences / max(scores.seconds, 1e-9)
    log.print(
        f"{scores.sentences:,} sentences in {scores.seconds:.1f} s ({speed:,.0f} sentences/s)"
    )
    rows = {protocol: _published(scores, protocol, beside) for protocol in scores.by_protocol()}
    white = {"fitted_on": whiten, "components": components} if whiten else None

    def show(console: Console) -> None:
        _show(console, model, scores, rows)
        if white:
            kept = "all" if components is None else str(components)
            console.print(f"ours whitened, fitted on {whiten}, {kept} components", markup=False)

    return _content(model, precision.value, scores, rows, white), show


def _load(model: str, precision: str, batch_tokens: int | None, quiet: bool) -> EncodeWith:
    from textcl.evaluation.benchmarks import EncodeWith
    from textcl.export.load import load_encoder

    options = {} if batch_tokens is None else {"batch_tokens": batch_tokens}
    encoder, shown = load_encoder(model), sys.stderr.isatty() and not quiet
    return EncodeWith(encoder, precision=precision, show_progress=shown, **options)


def whitening(whiten: str | None, components: int | None) -> Callable[[Any], Whitened | None]:
    """How an encoder's vectors are whitened: from it to what `evaluate` takes; None for not at all.

    The file is read at once, so that a wrong one is reported before a model is loaded.

    Raises:
        UserError: If there is no such file, or components are asked for without a whitening.
    """
    from textcl.errors import UserError
    from textcl.evaluation.whitening import Whitening

    if whiten is None:
        if components is not None:
            raise UserError("--components goes with --whiten target or --whiten FILE")
        return lambda encoder: None
    if whiten == "target":
        return lambda encoder: lambda rows: Whitening.fit(rows, components)
    from textcl.probe.models import texts_to_fit

    texts = texts_to_fit(whiten)

    def fitted(encoder: Any) -> Whitened:
        from textcl.probe.measure import embed

        one = Whitening.fit(embed(encoder, texts), components)
        return lambda rows: one

    return fitted


def _published(scores: Scores, protocol: str, beside: list[str]) -> list[PublishedRow]:
    """Rows that match any of `beside`, each once."""
    from textcl.evaluation.published import published_rows

    tasks = scores.by_protocol()[protocol]
    found = [
        row
        for words in beside
        for row in published_rows(protocol=protocol, match=words, tasks=tasks)
    ]
    return list({row.id: row for row in found}.values())


def _content(
    model: str,
    precision: str,
    scores: Scores,
    rows: dict[str, list[PublishedRow]],
    white: dict[str, Any] | None,
) -> dict[str, Any]:
    from dataclasses import asdict

    content = {"model": model, "precision": precision, "whitening": white, **scores.to_dict()}
    if any(rows.values()):
        content["published"] = [asdict(row) for found in rows.values() for row in found]
    return content


def _show(
    console: Console, model: str, scores: Scores, rows: dict[str, list[PublishedRow]]
) -> None:
    """One table a protocol: what stands in one table may be compared."""
    from textcl.evaluation.benchmarks import describe

    for protocol, names in scores.by_protocol().items():
        tasks, averaged = [scores.tasks[name] for name in names], len(names) > 1
        table = result_table("model")
        for label in [*(task.label for task in tasks), *(["avg"] if averaged else [])]:
            table.add_column(label, justify="right", no_wrap=True)
        table.add_row("[dim]pairs", *(f"[dim]{task.pairs:,}" for task in tasks))
        average = [scores.mean(names)] if averaged else []
        ours = map(_number, [*(scores[name] for name in names), *average])
        table.add_row(f"[bold]{escape(model)}", *ours, end_section=True)
        for row in rows[protocol]:
            average = [row.average] if averaged else []
            theirs = map(_number, [*(row.scores.get(name) for name in names), *average])
            table.add_row(
                escape(f"{row.model}, {_SHORT.get(row.supervision, row.supervision)}"), *theirs
            )
        console.print(table)
        notes = dict.fromkeys(task.note for task in tasks if task.note)
        sources = ["the sources of the published rows are in --json"] if rows[protocol] else []
        for line in (describe(protocol, scores.aggregation), *notes, *sources):
            console.print(line, soft_wrap=True, highlight=False, markup=False)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
