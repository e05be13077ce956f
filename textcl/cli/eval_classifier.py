"""`textcl eval` of a classifier: on the emotion tasks, or on a labelled file of one's own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from textcl.cli.class_scores import draw, show_score
from textcl.errors import UserError

if TYPE_CHECKING:
    from textcl.classifier.classifier import Classifier
    from textcl.classifier.columns import ColumnsClassifier
    from textcl.classifier.scores import ClassifierScore
    from textcl.evaluation.labelled import LabelledTask
    from textcl.evaluation.published import PublishedRow


@dataclass(frozen=True)
class Request:
    """A classifier and the tasks that it is scored on.

    Args:
        model: A run, a folder or a name on the hub.
        tasks: Those asked for.
        data: A labelled file instead of tasks; None for the tasks.
        columns: Role to column name of the file.
        label_separator: What stands between several labels that are written as one text; "" where they are lists.
        suite: Whether tasks of other classes are left out instead of refused.
        beside: Words that published rows match; all rows of the task and its protocol when empty.
    """

    model: str
    tasks: Sequence[LabelledTask]
    data: str | None
    columns: Mapping[str, str]
    label_separator: str
    suite: bool
    beside: Sequence[str]


def labelled_tasks(names: Sequence[str], lcl_preparation: bool) -> list[LabelledTask]:
    """Test splits of those names that are tasks of labelled texts; none where all are graded pairs.

    Raises:
        UserError: If some are and some are not, or data is missing or wrong.
    """
    from textcl.evaluation.labelled import load_labelled
    from textcl.evaluation.tasks import manifests

    pairs = [name for name in names if name in manifests()]
    if not pairs:
        return [load_labelled(name, lcl_preparation=lcl_preparation) for name in names]
    if len(pairs) < len(names):
        rest = next(name for name in names if name not in pairs)
        raise UserError(
            f"{pairs[0]} scores an encoder and {rest} a classifier: ask for one kind of task at a time"
        )
    return []


def eval_classifier(
    request: Request,
    figures: Path | None,
    precision: str,
    batch_tokens: int | None,
    quiet: bool = False,
) -> tuple[dict[str, object], Callable[[Console], None]]:
    """Score a classifier.

    Args:
        request: The model, and what it is scored on.
        figures: Folder for pictures.
        precision: Arithmetic of the encoder.
        batch_tokens: Tokens in one forward pass.
        quiet: Show no progress.

    Returns:
        What --json prints, and what shows the same on a console.

    Raises:
        UserError: If the classes of the model are not those of what it is to be scored on.
    """
    from textcl.classifier.columns import ColumnsClassifier
    from textcl.classifier.scores import own_task, score_classifier
    from textcl.cli.eval_columns import eval_columns

    classifier = _load(request.model)
    if isinstance(classifier, ColumnsClassifier):
        if request.label_separator:
            raise UserError("--label-separator is for several labels in one column: leave it out")
        return eval_columns(
            request.model,
            classifier,
            request.data,
            request.columns,
            figures,
            precision,
            batch_tokens,
            quiet,
        )
    if request.data:
        chosen = [own_task(request.data, classifier, request.columns, request.label_separator)]
    else:
        chosen = _fitting(classifier, request.tasks) if request.suite else request.tasks
    scores = score_classifier(
        classifier,
        chosen,
        precision=precision,
        batch_tokens=batch_tokens,
        show_progress=sys.stderr.isatty() and not quiet,
    )
    rows = {name: _published(score, request.beside) for name, score in scores.items()}
    if figures:
        draw(scores.values(), figures, quiet=quiet)
    left_out = [task.name for task in request.tasks if task.name not in scores]

    def show(console: Console) -> None:
        for name, score in scores.items():
            show_score(console, request.model, score, rows[name])
        if left_out:
            line = f"left out, having other classes: {', '.join(left_out)}"
            console.print(line, soft_wrap=True, markup=False)

    return _content(request.model, classifier, precision, scores, rows), show


def _load(model: str) -> Classifier | ColumnsClassifier:
    from textcl.classifier.columns import load_classifier

    return load_classifier(model)


def _fitting(classifier: Classifier, tasks: Sequence[LabelledTask]) -> list[LabelledTask]:
    from textcl.classifier.scores import fits

    chosen = [task for task in tasks if fits(classifier, task)]
    if not chosen:
        some = ", ".join(classifier.classes[:6]) + (", …" if len(classifier.classes) > 6 else "")
        raise UserError(
            f"the classifier's {len(classifier.classes)} classes ({some}) are those of no task of the suite "
            f"({', '.join(task.name for task in tasks)}): train it on one of them, or score it on your own texts with "
            "--data FILE"
        )
    return chosen


def _published(score: ClassifierScore, beside: Sequence[str]) -> list[PublishedRow]:
    """Rows of the task under our protocol, and for LCL's tasks under weighted F1 too."""
    from textcl.evaluation.published import published_rows

    kinds = {
        "lcl-accuracy": [("lcl-accuracy", "accuracy"), ("lcl-weighted-f1", "weighted-f1")],
        "goemotions-28": [("goemotions-28", "macro-f1")],
    }.get(score.protocol, [(score.protocol, "accuracy")])
    rows = [
        row
        for protocol, metric in kinds
        for words in (beside or [""])
        for row in published_rows(protocol=protocol, metric=metric, match=words, tasks=[score.name])
    ]
    return list({row.id: row for row in rows}.values())


def _content(
    model: str,
    classifier: Classifier,
    precision: str,
    scores: dict[str, ClassifierScore],
    rows: dict[str, list[PublishedRow]],
) -> dict[str, object]:
    from dataclasses import asdict

    return {
        "model": model,
        "kind": "classifier",
        "precision": precision,
        "classes": list(classifier.classes),
        "multi_label": classifier.multi_label,
        "temperature": classifier.temperature,
        "thresholds": classifier.thresholds.tolist() if classifier.multi_label else None,
        "scale": 100,
        "tasks": {
            name: {**score.to_dict(), "published": [asdict(row) for row in rows[name]]}
            for name, score in scores.items()
        },
    }
