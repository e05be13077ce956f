"""`textcl calibrate`: make a classifier's probabilities honest."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from textcl.cli.options import (
    OUTPUT,
    Columns,
    LabelSeparator,
    Split,
    parse_columns,
    plain_console,
    require_changeable,
)

EXAMPLES = """Examples:

textcl calibrate RUN dev.jsonl

textcl calibrate RUN dev.csv --column label=topic -o calibrated
"""


def calibrate_command(
    model: Annotated[
        str, typer.Argument(help="A run of a classifier, its folder or a name on the hub.")
    ],
    dev: Annotated[
        str,
        typer.Argument(help="Labelled texts, used neither for training nor for testing."),
    ],
    column: Columns = None,
    label_separator: LabelSeparator = "",
    split: Split = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FOLDER",
            help="Write a calibrated copy to this new folder. Default: calibrate the model in place.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
) -> None:
    """Calibrate a classifier's probabilities, and its thresholds if it assigns several labels.

    A temperature is fitted on DEV; weights stay as they are, and so does the most probable class. The expected
    calibration error is printed before and after; "after" is measured on rows that the temperature was not fitted on.
    A calibration is written only if it is better beyond doubt.
    """
    from textcl.classifier.calibration import calibrate, write_calibration
    from textcl.classifier.classifier import Classifier
    from textcl.data.files import replacing
    from textcl.data.roles import label_role
    from textcl.data.rows import load_rows
    from textcl.data.summary import blank_note
    from textcl.encoder.hub import find_model

    require_changeable(model, output)
    classifier = Classifier.from_pretrained(model)
    role = label_role(classifier.multi_label)
    rows = load_rows(
        dev,
        roles=("text", role),
        columns=parse_columns(column, ["text", role]),
        split=split,
        label_separator=label_separator,
    )
    report = calibrate(classifier, rows.column("text"), rows.column(role), dev)
    folder = find_model(model)
    if output is None and report.changed:
        write_calibration(folder, report, Path(dev).name)
    elif output is not None:
        with replacing(output) as new:
            shutil.copytree(folder, new, dirs_exist_ok=True)
            if report.changed:
                write_calibration(new, report, Path(dev).name)
    log = plain_console()
    if blank := blank_note(rows.report.blank):
        log.print(blank)
    written = "written to" if report.changed or output else "nothing is written to"
    log.print(f"{report.describe()}\n{written} {output or folder}")


def kept(parameters: Mapping[str, object]) -> str:
    """State of the model when the command is stopped."""
    output = parameters["output"]
    return f"nothing of {output} was written" if output else f"{parameters['model']} is unchanged"
