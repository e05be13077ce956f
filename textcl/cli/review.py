"""`textcl review`: labels that may be wrong, and classes that look alike."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from textcl.cli.consoles import log_console
from textcl.cli.options import (
    DATA,
    MODEL,
    OUTPUT,
    Columns,
    Limit,
    Quiet,
    Split,
    parse_columns,
    require_new_folder,
)

EXAMPLES = """Examples:

textcl review train.csv -m sentence-transformers/all-MiniLM-L6-v2

textcl review articles.csv -m RUN --column text=body --column label=topic -o look
"""


def review_command(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="Labelled texts: a file, a folder of them or a hub data set."
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "-m",
            "--model",
            metavar="NAME|FOLDER",
            help="Encoder whose vectors judge the labels, or a classifier with such an encoder; best one that was not "
            "trained on these labels.",
            rich_help_panel=MODEL,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="FOLDER",
            help="New folder for review.html and the csv files.",
            rich_help_panel=OUTPUT,
        ),
    ] = Path("review"),
    column: Columns = None,
    split: Split = None,
    limit: Limit = None,
    shown: Annotated[
        int,
        typer.Option(
            "--shown",
            min=1,
            metavar="N",
            help="Rows on the page; the csv has all.",
            rich_help_panel=OUTPUT,
        ),
    ] = 100,
    seed: Annotated[
        int,
        typer.Option(metavar="N", help="Seed of the cross-validation.", rich_help_panel=DATA),
    ] = 0,
    quiet: Quiet = False,
) -> None:
    """Review the labels of DATA: which may be wrong, which classes look alike.

    Every row is judged by logistic regressions on the vectors of the model that did not see it, and cleanlab's
    confident learning tells which labels to suspect (extra `review`). FOLDER gets rows.csv, the most suspicious row
    first, alike.csv, conflicts.csv with equal texts of different labels, and review.html to read, which opens offline.
    """
    from textcl.classifier.classifier import vectors_of
    from textcl.data.rows import columns_of, load_rows, settle_roles
    from textcl.data.sources import open_source
    from textcl.encoder.encoder import Encoder
    from textcl.errors import UserError
    from textcl.review.review import review_labels
    from textcl.review.suspects import require_cleanlab
    from textcl.review.write import write_review

    require_cleanlab()
    require_new_folder(output, overwrite=None)
    columns = parse_columns(column, ["text", "label", "labels"])
    if "labels" in settle_roles(data, ("text", "label|labels"), columns=columns, split=split):
        raise UserError(
            f"{data} has several labels a row (the column labels), and a review judges one: make a column of yes and "
            "no for each class, and review them one at a time with --column label=NAME"
        )
    if "," in columns.get("label", "") and columns["label"] not in columns_of(
        open_source(data, split=split)
    ):
        raise UserError(
            f"--column label={columns['label']}: a review judges one label a row: review the columns one at a time, "
            f"with --column label={columns['label'].split(',')[0].strip()}"
        )
    rows = load_rows(
        data,
        roles=("text", "label"),
        columns=columns,
        split=split,
        limit=limit,
    )
    log = log_console(quiet=quiet)
    encoder = Encoder.from_pretrained(model)
    texts = rows.column("text")
    shows = sys.stderr.isatty() and not quiet
    vectors = vectors_of(encoder, texts, precision="float32", show_progress=shows)
    review = review_labels(vectors, texts, rows.column("label"), shown=shown, seed=seed)
    write_review(review, output, data=data, model=model)
    log.print(rows.report.describe())
    log.print(review.describe())
    log.print(f"written to {output}: open {output / 'review.html'}")
