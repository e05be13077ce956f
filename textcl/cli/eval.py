"""`textcl eval`: score a model on benchmarks, every number with its protocol."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from textcl.cli.consoles import log_console, result_console
from textcl.cli.eval_encoder import eval_encoder, load
from textcl.cli.eval_tasks import suite_tasks
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
    parse_columns,
    require_new_file,
    write_text,
)
from textcl.cli.seen import warn_of_training_file

if TYPE_CHECKING:
    from textcl.data.json_files import JsonDict
    from textcl.encoder.peers import ReadingOptions
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

textcl eval RUN --data pairs.csv

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
            help="Your own data: a file with text and label, or with sentence1, sentence2 and score, or a folder with "
            "corpus.jsonl, queries.jsonl and qrels.",
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
    of graded pairs by Spearman's correlation, on one of labelled texts by a linear classifier and nearest neighbours.
    """
    from textcl.cli.eval_classifier import Request, eval_classifier, labelled_tasks
    from textcl.data.files import check_writable
    from textcl.data.json_text import to_json
    from textcl.errors import UserError
    from textcl.evaluation.own_pairs import ROLES
    from textcl.evaluation.tasks import task_names
    from textcl.training.accelerator import is_main_process

    if data and (suite or task):
        raise UserError("--data scores a model on your own data: leave --suite and --task out")
    if label_separator and not data:
        raise UserError("--label-separator goes with --data FILE, whose labels it separates")
    quiet = quiet or not is_main_process()
    warn_of_training_file(model, data, quiet=quiet)
    names = task_names([*(suite or ([] if task or data else ["sts"])), *(task or [])])
    require_new_file(output, overwrite=overwrite)
    if figures:
        check_writable(figures)
        from textcl.figures.charts import require_charts

        require_charts()
    # The data first: a mistake there shows in a second, a model may take minutes to load.
    columns = parse_columns(column, ["text", "label", "labels", *ROLES])
    tasks = suite_tasks(model, names, data, train, columns, aggregation.value, against)
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
        content, show = eval_encoder(
            model, names, beside or [], aggregation.value, whiten, components, precision, batch_tokens,
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


def _eval_suite(
    model: str,
    tasks: list[Task],
    against: str | None,
    beside: list[str],
    precision: Precision,
    batch_tokens: int | None,
    quiet: bool,
) -> tuple[JsonDict, Callable[[Console], None]]:
    """The content of --json, and a function that shows the same on a console."""
    from textcl.cli.eval_suite import eval_tasks

    systems = eval_tasks(
        model,
        tasks,
        against,
        beside,
        lambda name: load(name, precision.value, batch_tokens, quiet),
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
    """The content of --json, and a function that shows the same on a console."""
    from textcl.cli.eval_against import compare_classifiers

    options: ReadingOptions = {
        "batch_tokens": batch_tokens,
        "precision": precision.value,
        "show_progress": sys.stderr.isatty() and not quiet,
    }
    systems = compare_classifiers(model, against, tasks, data, columns, label_separator, options)
    return systems.content(precision.value), systems.show
