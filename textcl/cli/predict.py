"""`textcl predict`: the classes of a file of texts."""

from __future__ import annotations

import os
import sys
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated

import typer

from textcl.cli.consoles import log_console
from textcl.cli.options import (
    OUTPUT,
    BatchTokens,
    FastPrecision,
    Format,
    Input,
    Limit,
    Overwrite,
    Quiet,
    Split,
    TextColumn,
    parse_columns,
)
from textcl.errors import UserError
from textcl.progress import progress

if TYPE_CHECKING:
    from textcl.classifier.answers import Classifies
    from textcl.classifier.columns import ColumnsClassifier
    from textcl.encoder.peers import ReadingOptions

EXAMPLES = """Examples:

textcl predict RUN texts.txt -o classes.csv

textcl predict RUN reviews.csv --column text=body -o classes.parquet --top-k 3

textcl predict RUN questions.csv -o classes.csv --reject

zcat log.gz | textcl predict RUN - -o - | head
"""


def predict_command(
    model: Annotated[
        str, typer.Argument(help="A run of a classifier, its folder or a name on the hub.")
    ],
    source: Input,
    output: Annotated[
        str,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="File ending in .csv, .jsonl or .parquet, or - for JSON lines on standard output.",
            rich_help_panel=OUTPUT,
        ),
    ],
    column: TextColumn = None,
    format: Format = None,
    split: Split = None,
    limit: Limit = None,
    top_k: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="K",
            help="Also write the K most probable classes, if K is above 1.",
            rich_help_panel=OUTPUT,
        ),
    ] = 1,
    reject: Annotated[
        bool,
        typer.Option(
            "--reject",
            help="Also write which texts belong to none of the classes, by what `textcl reject` fitted.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    precision: FastPrecision = None,
    batch_tokens: BatchTokens = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Write the class of every text of INPUT to a file.

    Row i of the output belongs to row i of the input. Every row keeps its columns and gets label, probability and
    entropy (bits; 0 is certain); if the model assigns several labels: labels, probabilities and entropy. With --reject
    it gets rejected as well, while label stays the most probable class. Of several label columns each has these under
    its name: topic, topic_probability, topic_entropy. A column of the input that has one of these names is kept as
    input_label and the like.
    """
    from textcl.classifier.to_file import predict_rows
    from textcl.data.records import record_format
    from textcl.data.sources import open_source
    from textcl.data.stream import stream_rows

    # What is wrong with the files is found in a moment; a model may take minutes to load.
    record_format(output, overwrite=overwrite)
    opened = open_source(source, split=split, format=format and format.value)
    rows = stream_rows(opened, columns=parse_columns(column, ["text"]))
    first = next(rows, None)
    if first is None:
        raise UserError(f"{opened.name}: no row to predict")
    options: ReadingOptions = {
        "precision": precision and precision.value,
        "batch_tokens": batch_tokens,
    }
    log = log_console(quiet=quiet)
    classifier = load_classifier(model)
    try:
        with progress("predicting", "texts", show=not quiet, console=log) as advance:
            summary = predict_rows(
                classifier,
                islice(chain([first], rows), limit),
                output,
                top_k=top_k,
                reject=reject,
                schema=opened.schema(),
                overwrite=overwrite,
                progress=advance,
                **options,
            )
    except BrokenPipeError:  # whoever reads standard output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    log.print(summary.describe())


def load_classifier(model: str) -> Classifies | ColumnsClassifier:
    """The classifier that `model` names."""
    from textcl.classifier import columns

    return columns.load_classifier(model)
