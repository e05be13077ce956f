"""`textcl predict`: the classes of a file of texts."""

from __future__ import annotations

import os
import sys
from itertools import chain, islice
from typing import Annotated, Any

import typer
from rich.console import Console

from textcl.cli.encode import Lines, Precision, shown_progress, text_column
from textcl.errors import UserError


def predict_command(
    model: Annotated[
        str, typer.Argument(help="A run of a classifier, its folder or a name on the hub.")
    ],
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="txt, csv, tsv, jsonl (also .gz, .xz), parquet, a folder of them, a hub data set, or - for "
            "standard input.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option("-o", "--output", help="A file ending in .csv, .jsonl or .parquet, or -."),
    ],
    column: Annotated[
        list[str] | None, typer.Option(help="Where the text is: text=NAME of the column.")
    ] = None,
    format: Annotated[
        Lines | None, typer.Option(help="What standard input holds; default: txt.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of a hub data set or folder.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Predict only so many rows.")] = None,
    top_k: Annotated[
        int, typer.Option(min=1, help="Tell so many of the most probable classes.")
    ] = 1,
    precision: Annotated[
        Precision | None, typer.Option(help="Default: bfloat16 where it is fast, else float32.")
    ] = None,
    batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens in one forward pass; less needs less memory.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output where it exists.")
    ] = False,
) -> None:
    """Write the class of every text of INPUT: row i of the output belongs to row i of the input.

    Every row keeps its columns and gets label, probability and entropy (bits; 0 is certain); where the model gives
    texts several labels: labels, probabilities and entropy. A column of one of these names is kept as input_label.

    Examples: textcl predict RUN texts.txt -o classes.csv ·
    textcl predict RUN reviews.parquet --column text=body -o reviews-with-classes.parquet --top-k 3 ·
    zcat log.gz | textcl predict RUN - -o - | head
    """
    from textcl.classifier.to_file import predict_rows
    from textcl.data.records import record_format
    from textcl.data.sources import open_source
    from textcl.data.stream import stream_rows

    # What is wrong with the files is found in a moment; a model may take minutes to load.
    record_format(output, overwrite=overwrite)
    opened = open_source(source, split=split, format=format and format.value)
    rows = stream_rows(opened, columns=text_column(column or []))
    first = next(rows, None)
    if first is None:
        raise UserError(f"{opened.name}: there is no row to predict")
    options: dict[str, Any] = {
        "precision": precision and precision.value,
        "batch_tokens": batch_tokens,
    }
    log = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    classifier = load_classifier(model)
    try:
        with shown_progress(log, "predicting", "texts") as progress:
            summary = predict_rows(
                classifier,
                islice(chain([first], rows), limit),
                output,
                top_k=top_k,
                schema=opened.schema(),
                overwrite=overwrite,
                progress=progress,
                **{name: value for name, value in options.items() if value is not None},
            )
    except BrokenPipeError:  # whoever reads standard output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    log.print(summary.describe())


def load_classifier(model: str) -> Any:
    """The classifier that `model` names."""
    from textcl.classifier.classifier import Classifier

    return Classifier.from_pretrained(model)
