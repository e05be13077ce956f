"""The folder of a review: a csv by suspicion, csv files of look-alike classes and of conflicts, and a page to read."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path

from markupsafe import Markup

from textcl.data.files import replacing
from textcl.data.records import Record, open_records
from textcl.figures import html
from textcl.figures.pages import render
from textcl.review.alike import Alike, Conflict
from textcl.review.review import JudgedRow, Review

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
    return render(
        "textcl.review",
        "review.html.jinja",
        review=review,
        shown=list(zip(review.rows, review.neighbours, strict=False)),
        data=data,
        model=model,
        policy=Markup(html.policy(None)),
        files={"rows": ROWS, "alike": ALIKE, "conflicts": CONFLICTS},
    )
