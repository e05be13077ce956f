"""The section on classes: what a classifier confuses."""

from __future__ import annotations

from pathlib import Path

from textcl.classifier.classifier import Classifier
from textcl.classifier.folder import is_classifier
from textcl.errors import RunError, UserError
from textcl.evaluation.classification import confused_pairs, score_classes
from textcl.figures.classes import calibration_figure, confusion_figure
from textcl.probe.texts import ProbeData
from textcl.report.page import Document, slug
from textcl.report.runs import RunRecord


def class_section(page: Document, run: RunRecord, data: ProbeData, alone: bool) -> None:
    """The confusions of a classifier on labelled texts."""
    of = "" if alone else f" of {run.label}"
    page.section(f"classes-{slug(run.label)}", f"Classes{of}")
    if run.best is None or not is_classifier(run.best):
        page.missing("There is no confusion matrix: the run has saved no classifier yet.")
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
    result = score_classes(
        classifier.predict_proba(list(data.texts), precision="float32"), targets, classifier.classes
    )
    assert result.confusion is not None
    selected = (run.facts.dev or "").startswith(Path(data.source).name)
    subtitle = f"{result.n:,} texts of {data.source}; accuracy {result.accuracy:.1%}, macro-F1 {result.macro_f1:.1%}"
    tall = max(260, 26 * len(classifier.classes))
    drawn_table = confusion_figure(result.confusion, classifier.classes, f"Confusion{of}", subtitle)
    name = "" if alone else f"-{slug(run.label)}"
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
        note=f"On {data.source}, which "
        + ("also selected the weights." if selected else "did not select the weights."),
    )
    pairs = confused_pairs(result.confusion, classifier.classes, 8)
    if pairs:
        page.table(
            "Most confused",
            ("true class", "taken for", "texts", "share of the class"),
            [[p.true, p.predicted, p.rows, p.share] for p in pairs],
        )
