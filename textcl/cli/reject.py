"""`textcl reject`: fit when a classifier says that a text belongs to none of its classes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textcl.cli.consoles import result_console, result_table
from textcl.cli.options import DATA, OUTPUT, Columns, Split, parse_columns, require_changeable
from textcl.cli.seen import warn_of_training_file
from textcl.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from textcl.evaluation.out_of_scope import OutOfScopeResult

EXAMPLES = """Examples:

textcl reject RUN dev.csv --train train.csv

textcl reject RUN dev.csv --train train.csv --out-of-scope others.txt

textcl predict RUN questions.csv -o classes.csv --reject
"""


def reject_command(
    model: Annotated[
        str, typer.Argument(help="A run of a classifier, its folder or a name on the hub.")
    ],
    dev: Annotated[
        str,
        typer.Argument(help="Labelled texts, used neither for training nor for testing."),
    ],
    train: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Training rows of the model, for the scores nearest and mahalanobis. Default: five folds of DEV.",
            rich_help_panel=DATA,
        ),
    ] = None,
    out_of_scope: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Texts of none of the classes. Default: none.",
            rich_help_panel=DATA,
        ),
    ] = None,
    column: Columns = None,
    split: Split = None,
    score: Annotated[
        str,
        typer.Option(metavar="NAME", help="nearest, mahalanobis, energy, margin or softmax."),
    ] = "nearest",
    keep: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Least share of DEV to accept. Default: 0.95; with --out-of-scope the threshold with the best mean of "
            "DEV accepted and texts of no class rejected.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FOLDER",
            help="Write a copy to this new folder. Default: write into the model's folder.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
) -> None:
    """Fit when a classifier rejects a text as one of none of its classes.

    Classes and probabilities stay as they are; `textcl predict --reject` then tells the rejected texts. With
    --out-of-scope all scores are compared: AUROC, and FPR@95, the share of those texts that is accepted where 95 % of
    DEV is; recall and accuracy are of rows that the threshold was not fitted on. Of a classifier of several label
    columns, one of them is named with --column label=NAME.
    """
    from textcl.classifier.columns import ColumnsClassifier, load_classifier
    from textcl.classifier.columns_folder import columns_of, head_folder
    from textcl.classifier.fit_rejection import fit_rejection
    from textcl.classifier.folder import has_several_labels
    from textcl.classifier.rejection import kind_of_score
    from textcl.data.files import replacing
    from textcl.data.rows import load_rows
    from textcl.data.summary import blank_note
    from textcl.encoder.hub import find_model

    kind_of_score(score)
    require_changeable(model, output)
    warn_of_training_file(model, dev)
    columns = parse_columns(column, ["text", "label"])
    names = columns_of(find_model(model))
    if names and columns.get("label") not in names:
        raise UserError(
            f"{model} has the label columns {', '.join(names)}, each with a threshold of its own: fit one at a time, "
            f"with --column label={names[0]}"
        )
    if not names and has_several_labels(find_model(model)):
        raise UserError(
            f"{model} gives a text several labels, or none: there is nothing to reject, a text of no class has no label"
        )
    partly = bool(names)  # rows may lack the label of one of several columns
    rows = load_rows(
        dev, roles=("text", "label"), columns=columns, split=split, drop_unlabelled=partly
    )
    known = train and load_rows(
        train, roles=("text", "label"), columns=columns, drop_unlabelled=partly
    )
    texts = {"text": columns["text"]} if "text" in columns else {}
    outside = load_rows(out_of_scope, roles=("text",), columns=texts) if out_of_scope else None
    classifier, head = load_classifier(model), Path()
    if isinstance(classifier, ColumnsClassifier):
        head = head_folder(head, names.index(columns["label"]))
        classifier = classifier[columns["label"]]
    report = fit_rejection(
        classifier,
        rows.column("text"),
        rows.column("label"),
        train=(known.column("text"), known.column("label")) if known else None,
        outside=outside.column("text") if outside else (),
        score=score,
        keep=keep,
        place=dev,
    )
    folder = find_model(model)
    if output is None:
        report.rejection.write(folder / head)
    else:
        with replacing(output) as new:
            shutil.copytree(folder, new, dirs_exist_ok=True)
            report.rejection.write(new / head)
    console = result_console()
    if report.scores:
        console.print(_table(report.scores))
        line = "the last three of each part of the rows, at the threshold that the other parts give"
        console.print(line, soft_wrap=True, highlight=False)
    for line in filter(None, (blank_note(rows.report.blank), report.describe())):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print(f"written to {output or folder}", soft_wrap=True, highlight=False, markup=False)


def _table(scores: Mapping[str, OutOfScopeResult]) -> Table:
    table = result_table("score", "AUROC", "FPR@95", "OOS recall", "in-scope accuracy", "accepted")
    for name, each in scores.items():
        shares = (each.auroc, each.fpr95, each.oos_recall, each.in_scope_accuracy, each.accepted)
        table.add_row(name, *(f"{100 * share:.2f}" for share in shares))
    return table
