"""The section on classes: what a classifier confuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textcl.classifier.classifier import Classifier
from textcl.classifier.columns import ColumnsClassifier
from textcl.classifier.folder import is_classifier
from textcl.classifier.targets import Targets
from textcl.errors import RunError, UserError
from textcl.evaluation.classification import confused_pairs, score_classes
from textcl.figures.classes import calibration_figure, confusion_figure
from textcl.probe.texts import ProbeData
from textcl.report.page import Document, slug
from textcl.report.runs import RunRecord
from textcl.report.texts import column_texts


def class_section(page: Document, run: RunRecord, data: ProbeData, alone: bool) -> None:
    """The confusions of a classifier on labelled texts."""
    of = "" if alone else f" of {run.label}"
    page.section(f"classes-{slug(run.label)}", f"Classes{of}")
    if run.best is None or not is_classifier(run.best):
        page.missing("There is no confusion matrix: the run has saved no classifier yet.")
        return
    if run.facts.common.label_columns:
        _column_sections(page, run, run.best, of, "" if alone else f"-{slug(run.label)}")
        return
    if run.facts.common.multi_label:
        page.missing("There is no confusion matrix: a text may have several labels.")
        return
    if data.labels is None:
        page.missing(
            f"There is no confusion matrix: {data.source} has no labels; name labelled texts with --data."
        )
        return
    try:
        classifier = Classifier.from_pretrained(run.best)
        targets = classifier.targets(list(data.labels), data.source)
    except (UserError, RunError) as error:
        page.missing(f"There is no confusion matrix: {error}.")
        return
    name = "" if alone else f"-{slug(run.label)}"
    selected = (run.facts.dev or "").startswith(Path(data.source).name)
    shown = _Shown(classifier, data.texts, targets, data.source, selected)
    _add(page, shown, of, name)


def _column_sections(page: Document, run: RunRecord, best: Path, of: str, name: str) -> None:
    """The same for each of several label columns."""
    try:
        classifier = ColumnsClassifier.from_pretrained(best)
        texts = column_texts(run)
        for number, (column, part) in enumerate(classifier.parts.items(), 1):
            rows = texts[column]
            targets = part.targets(rows.column("label"), rows.report.source)
            selected = bool(run.facts.dev)
            shown = _Shown(part, rows.strings("text"), targets, rows.report.source, selected)
            _add(page, shown, f"{of} for {column}", f"{name}-{number}")
    except (UserError, RunError) as error:
        page.missing(f"There is no confusion matrix: {error}.")


@dataclass(frozen=True)
class _Shown:
    """A classifier and the texts on which it is shown."""

    classifier: Classifier
    texts: Sequence[str]
    targets: Targets
    source: str
    selected: bool


def _add(page: Document, shown: _Shown, of: str, name: str) -> None:
    """Figures and tables of a classifier; `of` stands behind their titles, `name` behind their names."""
    classifier = shown.classifier
    result = score_classes(
        classifier.predict_proba(list(shown.texts), precision="float32"),
        shown.targets,
        classifier.classes,
    )
    assert result.confusion is not None
    subtitle = f"{result.n:,} texts of {shown.source}; accuracy {result.accuracy:.1%}, macro-F1 {result.macro_f1:.1%}"
    tall = max(260, 26 * len(classifier.classes))
    drawn_table = confusion_figure(result.confusion, classifier.classes, f"Confusion{of}", subtitle)
    table = drawn_table.properties(width="container", height=tall)
    many = len(classifier.classes) > 12
    page.figure(f"confusion{name}", table, "wide" if many else "half")
    curve = calibration_figure(
        {"as trained": result.calibration}, f"Calibration{of}", "on the diagonal: as sure as right"
    )
    page.figure(
        f"calibration{name}", curve.properties(width="container", height=min(tall, 320)), "half"
    )
    page.table(
        f"Classes{of}",
        ("class", "texts", "predicted", "precision", "recall", "F1"),
        [[c.name, c.support, c.predicted, c.precision, c.recall, c.f1] for c in result.per_class],
        note=f"On {shown.source}, which "
        + ("also selected the weights." if shown.selected else "did not select the weights."),
    )
    pairs = confused_pairs(result.confusion, classifier.classes, 8)
    if pairs:
        page.table(
            f"Most confused{of}",
            ("true class", "taken for", "texts", "share of the class"),
            [[p.true, p.predicted, p.rows, p.share] for p in pairs],
        )
