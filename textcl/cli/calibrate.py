"""`textcl calibrate`: make a classifier's probabilities honest."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from textcl.errors import UserError


def calibrate_command(
    model: Annotated[
        str, typer.Argument(help="A run of a classifier, its folder or a name on the hub.")
    ],
    dev: Annotated[
        str, typer.Argument(help="Labelled rows that were neither trained on nor are tested on.")
    ],
    column: Annotated[
        list[str] | None, typer.Option(help="Where a role is in the data: text=body, label=topic.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of a hub data set or folder.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Write a calibrated copy here; default: in place."),
    ] = None,
) -> None:
    """Fit on DEV the temperature of MODEL's probabilities, and the thresholds where texts have several labels.

    Weights stay as they are, and so does which class is the most probable. The expected calibration error before and
    after is printed; "after" is measured on rows that the temperature was not fitted on. What is not better than before
    beyond doubt is not written.

    Examples: textcl calibrate RUN dev.jsonl · textcl calibrate RUN dev.csv --column label=topic -o DIR
    """
    from textcl.classifier.calibration import calibrate, write_calibration
    from textcl.classifier.classifier import Classifier, left_out
    from textcl.data.files import replacing
    from textcl.data.rows import load_rows
    from textcl.encoder.hub import find_model

    if output is None and not Path(model).expanduser().is_dir():
        raise UserError(
            f"{model} is no folder here: say with -o where the calibrated copy shall be"
        )
    if output is not None and output.exists():
        raise UserError(f"{output} exists already: name another folder")
    classifier = Classifier.from_pretrained(model)
    role = "labels" if classifier.multi_label else "label"
    rows = load_rows(dev, roles=("text", role), columns=_columns(column or []), split=split)
    report = calibrate(classifier, rows.column("text"), rows.column(role), dev)
    folder = find_model(model)
    if output is None and report.changed:
        write_calibration(folder, report, Path(dev).name)
    elif output is not None:
        with replacing(output) as new:
            shutil.copytree(folder, new, dirs_exist_ok=True)
            if report.changed:
                write_calibration(new, report, Path(dev).name)
    log = Console(soft_wrap=True, highlight=False, markup=False)
    if blank := left_out(rows.report.blank):
        log.print(blank)
    written = "written to" if report.changed or output else "nothing is written to"
    log.print(f"{report.describe()}\n{written} {output or folder}")


def _columns(options: list[str]) -> dict[str, str]:
    pairs = [option.partition("=") for option in options]
    for option, (role, _, name) in zip(options, pairs, strict=True):
        if not role.strip() or not name.strip():
            raise UserError(f"expected --column role=name, got {option!r}")
    return {role.strip(): name.strip() for role, _, name in pairs}
