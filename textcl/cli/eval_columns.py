"""`textcl eval` of a classifier of several label columns: each column on a file of one's own, and their mean."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from textcl.cli.class_scores import draw, show_score
from textcl.cli.consoles import result_table
from textcl.errors import UserError

if TYPE_CHECKING:
    from textcl.classifier.columns import ColumnsClassifier


def eval_columns(
    model: str,
    classifier: ColumnsClassifier,
    data: str | None,
    columns: Mapping[str, str],
    figures: Path | None,
    precision: str,
    batch_tokens: int | None,
    quiet: bool = False,
) -> tuple[dict[str, object], Callable[[Console], None]]:
    """Score a classifier of several label columns.

    Args:
        model: As the user named it.
        classifier: The same, loaded.
        data: The file.
        columns: Role to column name of the file.
        figures: Folder for pictures.
        precision: Arithmetic of the encoder.
        batch_tokens: Tokens in one forward pass.
        quiet: Show no progress.

    Returns:
        What --json prints, and what shows the same on a console.

    Raises:
        UserError: If there is no file, or its labels are not those of the classifier.
    """
    from textcl.classifier.columns_scores import mean_of_columns, score_columns

    if not data:
        raise UserError(
            f"{model} has several label columns ({', '.join(classifier.columns)}), and the tasks have one: score it on "
            "a file with --data FILE"
        )
    scores = score_columns(
        classifier,
        data,
        columns,
        precision=precision,
        batch_tokens=batch_tokens,
        show_progress=sys.stderr.isatty() and not quiet,
    )
    if figures:
        draw(scores.values(), figures, quiet=quiet)
    mean = mean_of_columns(scores)
    content: dict[str, object] = {
        "model": model,
        "kind": "classifier",
        "precision": precision,
        "columns": {
            name: {"classes": list(part.classes), "temperature": part.temperature}
            for name, part in classifier.parts.items()
        },
        "scale": 100,
        "tasks": {name: score.to_dict() for name, score in scores.items()},
        "mean": mean,
    }

    def show(console: Console) -> None:
        for score in scores.values():
            show_score(console, model, score, ())
        table = result_table("label column", "accuracy", "macro-F1", "ECE", "texts")
        for name, score in scores.items():
            own = score.result
            cells = (own.accuracy, own.macro_f1, own.calibration.error)
            table.add_row(escape(name), *(f"{100 * cell:.2f}" for cell in cells), f"{own.n:,}")
        shares = (mean["accuracy"], mean["macro_f1"], mean["ece"])
        table.add_row("[bold]mean", *(f"[bold]{share:.2f}" for share in shares), "")
        console.print(table)

    return content, show
