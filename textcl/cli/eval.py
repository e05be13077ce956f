"""`textcl eval`: score a model on benchmarks, every number with its protocol."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from textcl.evaluation.benchmarks import EncodeWith, Scores, Whiten
    from textcl.evaluation.published import PublishedRow


_SHORT = {"unsupervised": "unsup", "supervised-nli": "sup on NLI", "none": "not trained"}


class Precision(StrEnum):
    """Arithmetic of the encoder."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class Aggregation(StrEnum):
    """How the subsets of a task become one number."""

    all = "all"
    mean = "mean"
    wmean = "wmean"


def eval_command(
    model: Annotated[
        str, typer.Argument(help="A run, a model folder, an export or a name on the hub.")
    ],
    suite: Annotated[
        list[str] | None,
        typer.Option(help="Tasks that belong together: sts (the default), or emotion."),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(help="A single task, such as STSBenchmark-dev or ISEAR; may be given again."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Score a classifier on your own texts: a file with text and label."),
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="Where they are in --data: text=NAME, label=NAME.")
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(help="Folder for the confusions and the calibration as PNG and SVG."),
    ] = None,
    lcl_preparation: Annotated[
        bool, typer.Option("--lcl-preparation", help="Clean task texts as the code of LCL does.")
    ] = False,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            help="Show published rows of the same protocol whose model matches these words."
        ),
    ] = None,
    aggregation: Annotated[
        Aggregation, typer.Option(help="Of the subsets of a task; papers mostly report all.")
    ] = Aggregation.all,
    whiten: Annotated[
        str | None,
        typer.Option(
            help="Whiten, fitted on the pairs of each task (target) or on a file's texts."
        ),
    ] = None,
    components: Annotated[
        int | None, typer.Option(min=1, help="Leading directions that whitening keeps; all.")
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="float32 gives exact scores, bfloat16 fast ones.")
    ] = Precision.float32,
    batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens in one forward pass; less needs less memory.")
    ] = None,
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
    """Score an encoder on STS12-16, STS-B and SICK-R, or a classifier on labelled texts.

    The data of tasks is taken from the folder that TEXTCL_DATA names, or from the hub. A classifier is scored on the
    tasks of the suite that have its classes, or on a file.

    Examples: textcl eval RUN · textcl eval sentence-transformers/all-MiniLM-L6-v2 --beside "bert-base unsup" ·
    textcl eval RUN --task STSBenchmark-dev --json · textcl eval RUN --whiten target --components 256 ·
    textcl eval CLASSIFIER --suite emotion · textcl eval CLASSIFIER --data test.csv --figures pictures
    """
    import json

    from textcl.cli.eval_classifier import Request, eval_classifier, labelled_tasks
    from textcl.errors import UserError
    from textcl.evaluation.tasks import task_names

    if data and (suite or task):
        raise UserError("--data scores a classifier on one file: leave --suite and --task out")
    names = task_names([*(suite or ([] if task or data else ["sts"])), *(task or [])])
    if output and output.exists() and not overwrite:
        raise UserError(f"{output} exists already: name another file or add --overwrite")
    # The data first: it is found wrong in a second, a model may take minutes to load.
    labelled = labelled_tasks(names, lcl_preparation)
    if data or labelled:
        if whiten:
            raise UserError("--whiten is for encoders on graded pairs: leave it out")
        request = Request(model, labelled, data, tuple(column or ()), not task, tuple(beside or ()))
        content, show = eval_classifier(request, figures, precision.value, batch_tokens)
    else:
        if figures or column or lcl_preparation:
            raise UserError("--figures, --column and --lcl-preparation are for classifiers")
        content, show = _eval_encoder(
            model, names, beside or [], aggregation, whiten, components, precision, batch_tokens
        )
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if output:
        from textcl.data.files import atomic_write

        with atomic_write(output) as file:
            file.write(text.encode())
    if as_json:
        sys.stdout.write(text)
    else:
        console = Console()
        if not console.is_terminal:
            console.width = 120  # a file or a pipe has room for the names of the rows
        show(console)


def _eval_encoder(
    model: str,
    names: list[str],
    beside: list[str],
    aggregation: Aggregation,
    whiten: str | None,
    components: int | None,
    precision: Precision,
    batch_tokens: int | None,
) -> tuple[dict[str, Any], Callable[[Console], None]]:
    """What --json prints, and what shows the same on a console."""
    from textcl.evaluation.benchmarks import evaluate
    from textcl.evaluation.tasks import load_task

    tasks = [load_task(name) for name in names]
    fit = whitening(whiten, components)
    encoder = _load(model, precision.value, batch_tokens)
    scores = evaluate(encoder, tasks, aggregation=aggregation.value, whiten=fit(encoder))
    log = Console(stderr=True, soft_wrap=True, highlight=False)
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


def _load(model: str, precision: str, batch_tokens: int | None) -> EncodeWith:
    from textcl.evaluation.benchmarks import EncodeWith
    from textcl.export.load import load_encoder

    options = {} if batch_tokens is None else {"batch_tokens": batch_tokens}
    encoder = load_encoder(model)
    return EncodeWith(encoder, precision=precision, show_progress=sys.stderr.isatty(), **options)


def whitening(whiten: str | None, components: int | None) -> Callable[[Any], Whiten | None]:
    """How an encoder's vectors are whitened: from it to what `evaluate` takes; None for not at all.

    The file is read at once, so that a wrong one is told before a model is loaded.

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

    def fitted(encoder: Any) -> Whiten:
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
        table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        table.add_column("model", overflow="fold")
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
