"""`textcl eval` of a classifier: on the emotion tasks, or on a labelled file of one's own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from textcl.cli.options import result_table
from textcl.errors import UserError

if TYPE_CHECKING:
    from textcl.classifier.classifier import Classifier
    from textcl.classifier.scores import ClassifierScore
    from textcl.evaluation.labelled import LabelledTask
    from textcl.evaluation.published import PublishedRow

_PAIRS, _CLASSES = 10, 40
_WIDTH = 80  # columns of the tables where there is no terminal


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
    from textcl.classifier.scores import own_task, score_classifier

    classifier = _load(request.model)
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
        for score in scores.values():
            draw(score, figures)
    left_out = [task.name for task in request.tasks if task.name not in scores]

    def show(console: Console) -> None:
        for name, score in scores.items():
            _show(console, request.model, score, rows[name])
        if left_out:
            line = f"left out, having other classes: {', '.join(left_out)}"
            console.print(line, soft_wrap=True, markup=False)

    return _content(request.model, classifier, precision, scores, rows), show


def _load(model: str) -> Classifier:
    from textcl.classifier.classifier import Classifier

    return Classifier.from_pretrained(model)


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


def draw(score: ClassifierScore, folder: Path) -> None:
    """Write the confusion table and the calibration curve of a score as PNG and SVG."""
    from textcl.figures.classes import calibration_figure, confusion_figure
    from textcl.figures.files import save

    folder.mkdir(parents=True, exist_ok=True)
    result, stem = score.result, score.name.replace("/", "-").replace(",", "-")
    stem = Path(score.name).stem if score.protocol == "own-texts" else stem
    summary = f"accuracy {100 * result.accuracy:.2f}, macro-F1 {100 * result.macro_f1:.2f}, n = {result.n:,}"
    curves = {"as trained": score.uncalibrated.calibration}
    if result.calibration.error != score.uncalibrated.calibration.error:
        curves["calibrated"] = result.calibration
    bins = f"{len(result.calibration.counts)} equal bins, n = {result.n:,}"
    charts = {
        "calibration": calibration_figure(
            curves, f"{score.label}: does confidence come true?", bins
        )
    }
    if result.confusion is not None:
        names = [each.name for each in result.per_class]
        title = f"{score.label}: which class is taken for which"
        charts["confusion"] = confusion_figure(result.confusion, names, title, summary)
    for name, chart in charts.items():
        for ending in ("png", "svg"):
            save(chart, folder / f"{stem}-{name}.{ending}")


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


def _show(
    console: Console, model: str, score: ClassifierScore, rows: Sequence[PublishedRow]
) -> None:
    """Headline with published rows, classes, confusions, protocol."""
    from textcl.classifier.scores import classifier_protocol, headline
    from textcl.evaluation.classification import confused_pairs

    result, plain = score.result, score.uncalibrated
    head = result_table(
        score.label,
        "accuracy",
        "macro-\nF1",
        "weighted-\nF1",
        "entropy\n(bits)",
        "ECE",
        "tolerance",
    )
    for column in head.columns[1:]:
        column.no_wrap = True  # a number and what stands behind its ± stay together
    error = f" ± {100 * result.standard_error:.2f}"
    shares = [f"{100 * value:.2f}" for value in (result.macro_f1, result.weighted_f1)]
    tolerance = "–" if score.tolerance is None else f"{score.tolerance:.3f}"
    head.add_row(
        f"[bold]{escape(model)}",
        f"{100 * result.accuracy:.2f}{error}",
        *shares,
        f"{result.entropy:.3f}",
        f"{100 * result.calibration.error:.2f}",
        tolerance,
        end_section=True,
    )
    if headline(plain) != headline(result):
        head.add_row(
            "  uncalibrated",
            f"{100 * plain.accuracy:.2f}",
            f"{100 * plain.macro_f1:.2f}",
            f"{100 * plain.weighted_f1:.2f}",
            f"{plain.entropy:.3f}",
            f"{100 * plain.calibration.error:.2f}",
            "",
            end_section=True,
        )
    for row in rows:
        value, spread = row.scores[score.name], row.spread.get(score.name)
        summary = f"{value:.2f}" + (f" ± {spread:.2f}" if spread is not None else "")
        place = {"lcl-weighted-f1": 2, "goemotions-28": 1}.get(row.protocol, 0)
        cells = ["", "", ""]
        cells[place] = summary
        head.add_row(escape(f"{row.model}, {row.backbone}"), *cells, "", "", "")
    width = None if console.is_terminal else _WIDTH
    console.print(head, width=width)
    classes = result_table("class", "precision", "recall", "F1", "texts", "predicted")
    for each in sorted(result.per_class, key=lambda one: one.f1)[:_CLASSES]:
        cells = [f"{100 * value:.1f}" for value in (each.precision, each.recall, each.f1)]
        classes.add_row(escape(each.name), *cells, f"{each.support:,}", f"{each.predicted:,}")
    console.print(classes, width=width)
    if result.confusion is not None:
        pairs = result_table("most confused: true", "taken for", "texts", "share of the class")
        names = [each.name for each in result.per_class]
        for pair in confused_pairs(result.confusion, names, _PAIRS):
            pairs.add_row(
                escape(pair.true), escape(pair.predicted), str(pair.rows), f"{pair.share:.1%}"
            )
        console.print(pairs, width=width)
    lines = [
        classifier_protocol(score),
        "± is the standard error of the sample of texts",
        score.note,
    ]
    if rows:
        lines.append("published ± is over seeds; backbones differ; their sources are in --json")
    for line in filter(None, lines):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
