"""`textcl calibrate`: make a classifier's probabilities honest."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from textcl.cli.consoles import plain_console
from textcl.cli.options import (
    OUTPUT,
    Columns,
    LabelSeparator,
    Split,
    parse_columns,
    require_changeable,
)
from textcl.cli.seen import warn_of_training_file
from textcl.errors import UserError

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
    A calibration is written only if it is better beyond doubt. Of several label columns each gets its own.
    """
    from textcl.data.files import replacing
    from textcl.data.summary import blank_note
    from textcl.encoder.hub import find_model

    require_changeable(model, output)
    warn_of_training_file(model, dev)
    fitted = _calibrated(model, dev, column, label_separator, split)
    folder = find_model(model)
    if output is None and fitted.changed:
        fitted.write(folder)
    elif output is not None:
        with replacing(output) as new:
            shutil.copytree(folder, new, dirs_exist_ok=True)
            if fitted.changed:
                fitted.write(new)
    log = plain_console()
    if note := blank_note(fitted.blank):
        log.print(note)
    written = "written to" if fitted.changed or output else "nothing is written to"
    log.print(f"{fitted.description}\n{written} {output or folder}")


@dataclass(frozen=True)
class _Calibrated:
    """Fit of a classifier to dev rows.

    Args:
        description: Lines for the terminal.
        changed: Whether anything is to be written.
        write: Puts it into a classifier's folder.
        blank: Rows without a text.
    """

    description: str
    changed: bool
    write: Callable[[Path], None]
    blank: int


def _calibrated(
    model: str, dev: str, column: list[str] | None, label_separator: str, split: str | None
) -> _Calibrated:
    from textcl.classifier.calibration import calibrate, write_calibration
    from textcl.classifier.columns import ColumnsClassifier, load_classifier
    from textcl.classifier.columns_calibration import calibrate_columns, write_calibrations
    from textcl.data.roles import label_role
    from textcl.data.rows import load_rows

    classifier, data = load_classifier(model), Path(dev).name
    if isinstance(classifier, ColumnsClassifier):
        if label_separator:
            raise UserError("--label-separator is for several labels in one column: leave it out")
        named = parse_columns(column, ["text", "label"])
        reports, blank = calibrate_columns(classifier, dev, named, split)
        lines = [f"{name}: {report.describe()}" for name, report in reports.items()]
        changed = any(report.changed for report in reports.values())
        write = partial(write_calibrations, reports=reports, data=data)
        return _Calibrated("\n".join(lines), changed, write, blank)
    role = label_role(classifier.multi_label)
    rows = load_rows(
        dev,
        roles=("text", role),
        columns=parse_columns(column, ["text", role]),
        split=split,
        label_separator=label_separator,
    )
    report = calibrate(classifier, rows.column("text"), rows.column(role), dev)
    write = partial(write_calibration, report=report, data=data)
    return _Calibrated(report.describe(), report.changed, write, rows.report.blank)


def kept(parameters: Mapping[str, object]) -> str:
    """State of the model when the command is stopped."""
    output = parameters["output"]
    return f"nothing of {output} was written" if output else f"{parameters['model']} is unchanged"
