"""The folder of a review: a csv by suspicion, csv files of look-alike classes and of conflicts, and a page to read."""

from __future__ import annotations

from dataclasses import asdict, fields
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from textcl.data.files import replacing
from textcl.data.records import Record, open_records
from textcl.figures import html
from textcl.review.alike import Alike, Conflict
from textcl.review.review import JudgedRow, Review

if TYPE_CHECKING:
    from jinja2 import Environment

ROWS, ALIKE, CONFLICTS, PAGE = "rows.csv", "alike.csv", "conflicts.csv", "review.html"


def write_review(review: Review, folder: Path, *, data: str, model: str) -> None:
    """Write the folder, whole or not at all.

    Args:
        review: What `review_labels` gave.
        folder: To make.
        data: Name of the rows, for the page.
        model: Name of the encoder, for the page.

    Raises:
        UserError: If the place is not a folder.
        RunError: If the disk is full.
    """
    page = render_review(review, data, model)
    with replacing(folder) as new:
        _write(new / ROWS, JudgedRow, [asdict(row) for row in review.rows])
        _write(new / ALIKE, Alike, [asdict(pair) for pair in review.alike])
        _write(
            new / CONFLICTS,
            Conflict,
            [
                {"text": each.text, "labels": each.labels, "rows": [row + 1 for row in each.rows]}
                for each in review.conflicts
            ],
        )
        (new / PAGE).write_text(page, encoding="utf-8")


def _write(path: Path, kind: type[JudgedRow | Alike | Conflict], records: list[Record]) -> None:
    """A csv; its header alone where there are no records."""
    if not records:
        path.write_text(",".join(field.name for field in fields(kind)) + "\n", encoding="utf-8")
        return
    with open_records(path) as write:
        write(records)


def render_review(review: Review, data: str, model: str) -> str:
    """The page, which opens without a network and runs no script.

    Args:
        review: What it shows.
        data: Name of the rows.
        model: Name of the encoder.
    """
    style = resources.files("textcl.report").joinpath("report.css").read_text("utf-8")
    return (
        _environment()
        .get_template("review.html.jinja")
        .render(
            review=review,
            shown=list(zip(review.rows, review.neighbours, strict=False)),
            data=data,
            model=model,
            policy=html.policy(None),
            style=style,
            files={"rows": ROWS, "alike": ALIKE, "conflicts": CONFLICTS},
        )
    )


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("textcl.review", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
