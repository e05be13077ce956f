"""Scores of a classifier on labelled texts: every text encoded once, every number with its protocol."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Unpack

import numpy as np
import torch
from jaxtyping import Float

from textcl.classifier.classifier import Classifier, Targets, vectors_of
from textcl.data.json_files import JsonDict
from textcl.data.roles import label_role
from textcl.data.rows import load_rows
from textcl.data.summary import blank_note
from textcl.encoder.peers import ReadingOptions
from textcl.errors import UserError
from textcl.evaluation.classification import (
    ClassificationResult,
    confused_pairs,
    score_classes,
    score_labels,
)
from textcl.evaluation.geometry import tolerance
from textcl.evaluation.labelled import LabelledTask


@dataclass(frozen=True)
class ClassifierScore:
    """Scores of a classifier on one task.

    Args:
        name: The task.
        label: Short name of it.
        protocol: How the numbers came about.
        source: The copy of the data that was read.
        note: What a reader should know about the data.
        result: With the classifier's own temperature and thresholds.
        uncalibrated: Logits not divided by the temperature, thresholds of 0.5; equals `result` where nothing was
            fitted.
        tolerance: Mean cosine of texts of one class, in the encoder's space; None where texts have several labels or
            no class has two.
    """

    name: str
    label: str
    protocol: str
    source: str
    note: str
    result: ClassificationResult
    uncalibrated: ClassificationResult
    tolerance: float | None

    def to_dict(self) -> JsonDict:
        """A plain mapping; scores and calibration errors times 100."""
        result, curve = self.result, self.result.calibration
        content: JsonDict = {
            "protocol": self.protocol,
            "n": result.n,
            **headline(result),
            "standard_error": 100 * result.standard_error,
            "uncalibrated": headline(self.uncalibrated),
            "tolerance": self.tolerance,
            "per_class": [
                {
                    **asdict(each),
                    **{key: 100 * getattr(each, key) for key in ("precision", "recall", "f1")},
                }
                for each in result.per_class
            ],
            "calibration": {
                "bins": len(curve.counts),
                "confidence": [_known(value) for value in curve.confidence],
                "accuracy": [_known(value) for value in curve.accuracy],
                "counts": curve.counts.tolist(),
            },
            "source": self.source,
            "note": self.note,
        }
        if result.confusion is not None:
            names = [each.name for each in result.per_class]
            content["confusion"] = result.confusion.tolist()
            content["confused"] = [
                pair._asdict() for pair in confused_pairs(result.confusion, names)
            ]
        return content


def headline(result: ClassificationResult) -> dict[str, float]:
    """The numbers of a result that stand in a table, shares times 100 and entropy in bits."""
    return {
        "accuracy": 100 * result.accuracy,
        "macro_f1": 100 * result.macro_f1,
        "weighted_f1": 100 * result.weighted_f1,
        "micro_f1": 100 * result.micro_f1,
        "entropy_bits": result.entropy,
        "ece": 100 * result.calibration.error,
    }


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def own_task(
    path: str,
    classifier: Classifier,
    columns: Mapping[str, str] | None = None,
    label_separator: str = "",
    *,
    drop_unlabelled: bool = False,
) -> LabelledTask:
    """A labelled file as a task: columns `text` and `label`, or `labels` where texts have several.

    Args:
        path: The file.
        classifier: What it is to score.
        columns: Role to column name, where they differ.
        label_separator: What stands between several labels that are written as one text; "" where they are lists.
        drop_unlabelled: Leave rows without a label out instead of refusing them.

    Raises:
        UserError: If something is wrong in the file, or a label is none of the classes.
    """
    role = label_role(classifier.multi_label)
    rows = load_rows(
        path,
        roles=("text", role),
        columns=columns,
        label_separator=label_separator,
        drop_unlabelled=drop_unlabelled,
    )
    labels = rows.column(role)
    classifier.targets(labels, path)
    return LabelledTask(
        path,
        rows.column("text"),
        labels,
        classifier.classes,
        classifier.multi_label,
        path,
        blank=rows.report.blank,
    )


def fits(classifier: Classifier, task: LabelledTask) -> bool:
    """Whether the classes of a task are those of the classifier."""
    return (
        set(classifier.classes) == set(task.classes) and classifier.multi_label == task.multi_label
    )


def score_classifier(
    classifier: Classifier,
    tasks: Sequence[LabelledTask],
    **options: Unpack[ReadingOptions],
) -> dict[str, ClassifierScore]:
    """Score a classifier on labelled texts.

    Args:
        classifier: As of `textcl.Classifier.from_pretrained`.
        tasks: Of `textcl.evaluation.labelled.load_labelled`, or of `own_task`.
        options: As of `Encoder.encode`: batch_tokens, precision ("float32" when not given, for exact scores),
            show_progress.

    Raises:
        UserError: If a task has other classes than the classifier.
        RunError: If a task has no rows, or the weights are broken.
    """
    for task in tasks:
        if not fits(classifier, task):
            raise UserError(_misfit(classifier, task))
    exact: ReadingOptions = {"precision": "float32", **options}
    return {
        task.name: score_vectors(
            classifier, task, vectors_of(classifier.encoder, task.texts, **exact)
        )
        for task in tasks
    }


def _misfit(classifier: Classifier, task: LabelledTask) -> str:
    several = {True: "several labels a text", False: "one label a text"}
    ours, theirs = set(classifier.classes), set(task.classes)
    if ours == theirs:
        note = (
            f"{several[classifier.multi_label]}, those of {task.name} {several[task.multi_label]}"
        )
    else:
        missing, extra = sorted(theirs - ours)[:3], sorted(ours - theirs)[:3]
        parts = [
            f"{words} {', '.join(names)}"
            for words, names in (("it lacks", missing), ("only it has", extra))
            if names
        ]
        note = f"{len(ours)} classes, {task.name} has {len(theirs)}: {'; '.join(parts)}"
    return f"the classifier has {note}; train one on this task, or score it on a file with --data"


def score_vectors(
    classifier: Classifier, task: LabelledTask, vectors: Float[np.ndarray, "N D"]
) -> ClassifierScore:
    """Score a classifier on labelled texts whose vectors are at hand.

    Args:
        classifier: Of the classes of the task.
        task: The texts.
        vectors: What `vectors_of` gives for them.
    """
    truth = classifier.targets(task.labels, task.name)
    logits = classifier.logits_of(vectors)
    own, plain = classifier.probabilities(logits), classifier.probabilities(logits, 1.0)
    if task.multi_label:
        result = score_labels(own, truth, classifier.classes, classifier.thresholds)
        before = score_labels(plain, truth, classifier.classes)
    else:
        result = score_classes(own, truth, classifier.classes)
        before = score_classes(plain, truth, classifier.classes)
    manifest = task.manifest
    return ClassifierScore(
        task.name,
        manifest.label if manifest else task.name,
        manifest.protocol if manifest else "own-texts",
        task.source + (f", prepared as in LCL ({task.preparation})" if task.preparation else ""),
        manifest.note if manifest else blank_note(task.blank),
        result,
        before,
        None if task.multi_label else _tolerance(vectors, truth),
    )


def _tolerance(vectors: Float[np.ndarray, "N D"], truth: Targets) -> float | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no class with two texts
        value = float(tolerance(torch.from_numpy(vectors), torch.from_numpy(truth)))
    return _known(value)


def classifier_protocol(score: ClassifierScore) -> str:
    """One line that says how the numbers came about."""
    several = score.result.confusion is None
    decided = "each label from its threshold on" if several else "the most probable class"
    accuracy = "all labels right" if several else "of texts"
    return (
        f"{score.protocol}: {decided}; accuracy {accuracy}, F1 over {len(score.result.per_class)} classes (0 for one "
        f"that is neither there nor predicted), × 100; ECE × 100 in {len(score.result.calibration.counts)} equal bins; "
        f"n = {score.result.n:,}"
    )
