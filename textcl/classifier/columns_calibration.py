"""Calibration of a classifier of several label columns: a temperature for each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from textcl.classifier.calibration import CalibrationReport, calibrate_on, write_calibration
from textcl.classifier.columns import ColumnsClassifier
from textcl.classifier.columns_folder import head_folder
from textcl.classifier.columns_rows import load_column_rows


def calibrate_columns(
    classifier: ColumnsClassifier,
    dev: str,
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
) -> tuple[dict[str, CalibrationReport], int]:
    """Fit a temperature for each label column, and set those that are better; see `calibrate`.

    Args:
        classifier: What is calibrated.
        dev: File of held-out texts with their labels, of which some may be missing.
        columns: Role to column name, where they differ.
        split: Of a hub data set or folder.

    Returns:
        What was fitted by column, and how many rows of the file have no text.

    Raises:
        UserError: If something is wrong in the file, or fewer than 10 rows have a label in a column.
    """
    rows, parts = load_column_rows(dev, classifier, columns, split)
    logits = classifier.logits(rows.column("text"), precision="float32")
    reports: dict[str, CalibrationReport] = {}
    for name, part in classifier.parts.items():
        own, place = parts[name], f"{dev}, column {name}"
        targets = part.targets(own.rows.column("label"), place)
        reports[name] = calibrate_on(part, logits[name][own.places], targets, place)
    return reports, rows.report.blank


def write_calibrations(folder: Path, reports: Mapping[str, CalibrationReport], data: str) -> None:
    """Put the temperatures into a classifier's folder; its weights are not touched.

    Args:
        folder: What `ColumnsClassifier.save_pretrained` wrote.
        reports: What `calibrate_columns` gave.
        data: Name of the rows, for the reader of the files.
    """
    for number, report in enumerate(reports.values()):
        if report.changed:
            write_calibration(head_folder(folder, number), report, data)
