"""`textcl eval`: score a model on benchmarks, every number with its protocol."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from textcl.cli.options import (
    DATA,
    OUTPUT,
    BatchTokens,
    Columns,
    Components,
    ExactPrecision,
    Json,
    JsonFile,
    LabelSeparator,
    Overwrite,
    Precision,
    Quiet,
    Whiten,
    log_console,
    parse_columns,
    require_new_file,
    result_console,
    write_text,
)

if TYPE_CHECKING:
    from textcl.data.json_files import JsonDict
    from textcl.encoder.peers import ReadingOptions
    from textcl.evaluation.benchmarks import EncodeWith
    from textcl.evaluation.labelled import LabelledTask
    from textcl.suites.suite import Task


class Aggregation(StrEnum):
    """Aggregation of the subsets of a task into one number."""

    all = "all"
    mean = "mean"
    wmean = "wmean"


EXAMPLES = """Examples:

textcl eval RUN

textcl eval bert-base-uncased --beside "bert-base unsup"

textcl eval RUN --task STSBenchmark-dev --json

textcl eval RUN --whiten target --components 256

textcl eval CLASSIFIER --suite emotion

textcl eval RUN --suite retrieval --suite qa

textcl eval RUN --data beir_folder/

textcl eval RUN --against all-MiniLM-L6-v2 --suite transfer

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
            help="Tasks that belong together: sts, words, retrieval, qa, bli, linking, transfer or emotion; may be "
            "repeated. Default: sts.",
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
            metavar="FILE|FOLDER",
            help="Your own data: a file with text and label, or a folder with corpus.jsonl, queries.jsonl and qrels.",
            rich_help_panel=DATA,
        ),
    ] = None,
    train: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Labelled rows that probes of an encoder are fitted on. Default: folds of --data.",
            rich_help_panel=DATA,
        ),
    ] = None,
    column: Columns = None,
    label_separator: LabelSeparator = "",
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
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Another model, or bm25 on retrieval: differences with interval and p instead of scores.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
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
    """Score an encoder on suites of tasks, or a classifier on labelled texts.

    The suite sts is STS12-16, STS-B and SICK-R. The data of tasks comes from the folder that TEXTCL_DATA names, or from
    the hub. A classifier is scored on the tasks of the suite that have its classes, or on a file; an encoder on a file
    by a linear classifier and nearest neighbours.
    """
    from textcl.cli.eval_classifier import Request, eval_classifier, labelled_tasks
    from textcl.data.files import check_writable, to_json
    from textcl.errors import UserError
    from textcl.evaluation.tasks import task_names
    from textcl.training.accelerator import is_main_process

    if data and (suite or task):
        raise UserError("--data scores a model on your own data: leave --suite and --task out")
    if label_separator and not data:
        raise UserError("--label-separator goes with --data FILE, whose labels it separates")
    quiet = quiet or not is_main_process()
    names = task_names([*(suite or ([] if task or data else ["sts"])), *(task or [])])
    require_new_file(output, overwrite=overwrite)
    if figures:
        check_writable(figures)
    # The data first: a mistake there shows in a second, a model may take minutes to load.
    columns = parse_columns(column, ["text", "label", "labels"])
    tasks = _suite_tasks(model, names, data, train, columns, aggregation, against)
    labelled = [] if tasks else labelled_tasks(names, lcl_preparation)
    if tasks:
        if whiten or figures or lcl_preparation or label_separator:
            raise UserError(
                "--whiten, --figures, --lcl-preparation and --label-separator do not go with suites or --against"
            )
        content, show = _eval_suite(
            model, tasks, against, beside or [], precision, batch_tokens, quiet
        )
    elif against:
        content, show = _compare_classifiers(
            model, against, labelled, data, columns, label_separator, precision, batch_tokens, quiet
        )
    elif data or labelled:
        if whiten:
            raise UserError("--whiten is for encoders on graded pairs: leave it out")
        request = Request(
            model, labelled, data, columns, label_separator, not task, tuple(beside or ())
        )
        content, show = eval_classifier(request, figures, precision.value, batch_tokens, quiet)
    else:
        if figures or column or lcl_preparation:
            raise UserError("--figures, --column and --lcl-preparation are for classifiers")
        content, show = _eval_encoder(
            model, names, beside or [], aggregation, whiten, components, precision, batch_tokens,
            quiet,
        )  # fmt: skip
    if not is_main_process():  # it has the same scores as the main one, which shows them
        return
    text = to_json(content)
    write_text(output, text)
    if as_json:
        sys.stdout.write(text)
    else:
        show(result_console())


def _suite_tasks(
    model: str,
    names: list[str],
    data: str | None,
    train: str | None,
    columns: dict[str, str],
    aggregation: Aggregation,
    against: str | None,
) -> list[Task]:
    """Tasks that vectors are scored on; none where a classifier is scored, or graded pairs alone without --against."""
    from textcl.cli.eval_suite import own_tasks
    from textcl.errors import UserError
    from textcl.evaluation.tasks import manifests
    from textcl.suites.load import load_tasks
    from textcl.suites.manifests import suite_manifests

    if data and (Path(data).is_dir() or train or _is_encoder(model)):
        return own_tasks(data, train, columns)
    if train:
        raise UserError("--train goes with --data FILE, whose rows its classifiers are tested on")
    known = suite_manifests()
    if any(name in known for name in names) or (against and names and names[0] in manifests()):
        if columns:
            raise UserError("--column goes with --data")
        return load_tasks(names, aggregation.value)
    return []


def _is_encoder(model: str) -> bool:
    """Whether a model is there and no classifier."""
    from textcl.classifier.folder import is_classifier
    from textcl.encoder.hub import find_model
    from textcl.errors import UserError

    try:
        return not is_classifier(find_model(model))
    except UserError:
        return False


def _eval_suite(
    model: str,
    tasks: list[Task],
    against: str | None,
    beside: list[str],
    precision: Precision,
    batch_tokens: int | None,
    quiet: bool,
) -> tuple[JsonDict, Callable[[Console], None]]:
    """What --json prints, and what shows the same on a console."""
    from textcl.cli.eval_suite import eval_tasks

    systems = eval_tasks(
        model,
        tasks,
        against,
        beside,
        lambda name: _load(name, precision.value, batch_tokens, quiet),
    )
    log_console(quiet=quiet).print(systems.speed)
    return systems.content(precision.value), systems.show


def _compare_classifiers(
    model: str,
    against: str,
    tasks: list[LabelledTask],
    data: str | None,
    columns: dict[str, str],
    label_separator: str,
    precision: Precision,
    batch_tokens: int | None,
    quiet: bool,
) -> tuple[JsonDict, Callable[[Console], None]]:
    """What --json prints, and what shows the same on a console."""
    from textcl.cli.eval_suite import compare_classifiers

    options: ReadingOptions = {
        "batch_tokens": batch_tokens,
        "precision": precision.value,
        "show_progress": sys.stderr.isatty() and not quiet,
    }
    systems = compare_classifiers(model, against, tasks, data, columns, label_separator, options)
    return systems.content(precision.value), systems.show


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
) -> tuple[JsonDict, Callable[[Console], None]]:
    """What --json prints, and what shows the same on a console."""
    from textcl.cli.eval_graded import plain, published, show_scores, whitening
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
    rows = {protocol: published(scores, protocol, beside) for protocol in scores.by_protocol()}
    white = {"fitted_on": whiten, "components": components} if whiten else None

    def show(console: Console) -> None:
        show_scores(console, model, scores, rows)
        if white:
            kept = "all" if components is None else str(components)
            console.print(f"ours whitened, fitted on {whiten}, {kept} components", markup=False)

    return plain(model, precision.value, scores, rows, white), show


def _load(model: str, precision: str, batch_tokens: int | None, quiet: bool) -> EncodeWith:
    from textcl.encoder.shared import SharedEncoder
    from textcl.evaluation.benchmarks import EncodeWith
    from textcl.export.load import load_encoder
    from textcl.training.accelerator import launched_world

    options = {} if batch_tokens is None else {"batch_tokens": batch_tokens}
    world = launched_world()
    encoder, shown = load_encoder(model), sys.stderr.isatty() and not quiet
    if world.size > 1:
        encoder = SharedEncoder(encoder, world)
    return EncodeWith(encoder, precision=precision, show_progress=shown, **options)
