"""A classifier's decisions on labelled texts as a result that can be compared by resampling."""

from __future__ import annotations

from typing import Unpack

import numpy as np
from jaxtyping import Float

from textcl.classifier.classifier import Classifier, vectors_of
from textcl.encoder.peers import ReadingOptions
from textcl.evaluation.labelled import LabelledTask
from textcl.evaluation.resampling import MacroF1, Mean, Statistic, observed
from textcl.suites.suite import TaskResult


def classified(
    classifier: Classifier, task: LabelledTask, **options: Unpack[ReadingOptions]
) -> TaskResult:
    """Accuracy and macro-F1 times 100, with the classifier's own temperature and thresholds.

    Args:
        classifier: One with the classes of the task.
        task: Its texts and labels.
        options: As of `Encoder.encode`; precision is "float32" when not given, for exact scores.

    Raises:
        UserError: If a label is none of the classes.
    """
    exact: ReadingOptions = {"precision": "float32", **options}
    return classified_vectors(classifier, task, vectors_of(classifier.encoder, task.texts, **exact))


def classified_vectors(
    classifier: Classifier, task: LabelledTask, vectors: Float[np.ndarray, "N D"]
) -> TaskResult:
    """The same of labelled texts whose vectors are at hand.

    Args:
        classifier: One with the classes of the task.
        task: The texts and labels.
        vectors: What `vectors_of` gives for them.

    Raises:
        UserError: If a label is none of the classes.
    """
    truth = classifier.targets(task.labels, task.name)
    shares = classifier.probabilities(classifier.logits_of(vectors))
    classes = np.arange(len(classifier.classes))
    if classifier.multi_label:
        labels, predicted = truth.astype(bool), shares >= classifier.thresholds
    else:
        labels, predicted = truth[:, None] == classes, shares.argmax(1)[:, None] == classes
    right = (labels == predicted).all(axis=1)
    statistics: dict[str, Statistic] = {
        "accuracy": Mean(right.astype(np.float64)),
        "macro-F1": MacroF1(labels, predicted),
    }
    manifest = task.manifest
    return TaskResult(
        task.name,
        manifest.label if manifest else task.name,
        manifest.protocol if manifest else "own-texts",
        f"accuracy and F1 over {len(classes)} classes, x100",
        {name: 100 * observed(statistic) for name, statistic in statistics.items()},
        tuple(statistics),
        "rows",
        statistics,
        task.source,
        manifest.note if manifest else "",
    )
