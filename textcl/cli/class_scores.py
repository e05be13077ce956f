"""Scores of a classifier on one task, as tables and figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from textcl.cli.consoles import log_console, result_table

if TYPE_CHECKING:
    from textcl.classifier.scores import ClassifierScore
    from textcl.evaluation.published import PublishedRow

_PAIRS, _CLASSES = 10, 40
_WIDTH = 80  # columns of the tables where there is no terminal


def draw(scores: Iterable[ClassifierScore], folder: Path, *, quiet: bool = False) -> None:
    """Write the confusion table and the calibration curve of each score as PNG and SVG."""
    for score in scores:
        _draw(score, folder)
    log_console(quiet=quiet).print(f"pictures written to {folder}")


def _draw(score: ClassifierScore, folder: Path) -> None:
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


def show_score(
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
    names = [each.name for each in result.per_class]
    confused = [] if result.confusion is None else confused_pairs(result.confusion, names, _PAIRS)
    if confused:
        pairs = result_table("most confused: true", "taken for", "texts", "share of the class")
        for pair in confused:
            pairs.add_row(
                escape(pair.true), escape(pair.predicted), str(pair.rows), f"{pair.share:.1%}"
            )
        console.print(pairs, width=width)
    many = len(names) > _CLASSES
    lines = [
        f"the {_CLASSES} of {len(names)} classes with the lowest F1; --json has all"
        if many
        else "",
        classifier_protocol(score),
        "± is the standard error of the sample of texts",
        score.note,
    ]
    if rows:
        lines.append("published ± is over seeds; backbones differ; their sources are in --json")
    for line in filter(None, lines):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
