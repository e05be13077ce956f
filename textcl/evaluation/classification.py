"""The quality of a classifier's probabilities: accuracy, F1, confusions, confidence and calibration.

Pure arithmetic in float64; which texts the probabilities belong to is the business of `textcl.evaluation.labelled`.
Tolerance, how close the embeddings of a class stay, is in `textcl.evaluation.geometry`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import entr
from sklearn.metrics import confusion_matrix

from textcl.errors import RunError

BINS = 15
"""Bins of a calibration curve, as in Guo et al. 2017."""


@dataclass(frozen=True)
class ClassScore:
    """One class: shares in [0, 1], 0 where nothing was predicted or no row has it; counts of rows."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int
    predicted: int


@dataclass(frozen=True, eq=False)
class Calibration:
    """The share of predictions that came true, by their probability.

    Args:
        confidence: Mean probability of each bin, NaN where it is empty. Bins are equal parts of [0, 1], closed at
            their upper end.
        accuracy: Share of the bin that was right, NaN where it is empty.
        counts: Predictions in each bin.
    """

    confidence: Float[np.ndarray, " bins"]
    accuracy: Float[np.ndarray, " bins"]
    counts: Int[np.ndarray, " bins"]

    @property
    def error(self) -> float:
        """Expected calibration error: mean |accuracy − confidence| over predictions, in [0, 1]; lower is better."""
        gaps = np.nan_to_num(np.abs(self.accuracy - self.confidence))
        return float((gaps * self.counts).sum() / self.counts.sum())


@dataclass(frozen=True, eq=False)
class ClassificationResult:
    """Scores of a classifier on labelled rows. Shares lie in [0, 1].

    Args:
        n: Rows.
        accuracy: Rows that are right; with several labels a row, those with all labels right (subset accuracy).
        macro_f1: Plain mean of F1 over all classes of the model.
        weighted_f1: Mean of F1 weighted by the rows of a class.
        micro_f1: F1 of all decisions together; accuracy where a row has one label.
        entropy: Mean entropy of the probabilities in bits, low where the model is sure; with several labels the mean
            over labels of the entropy of yes and no.
        calibration: Of the highest probability of each row; with several labels of the probability of each label.
        per_class: Every class, in the order of the model's.
        confusion: Rows by true and predicted class; None where a row has several labels.
    """

    n: int
    accuracy: float
    macro_f1: float
    weighted_f1: float
    micro_f1: float
    entropy: float
    calibration: Calibration
    per_class: tuple[ClassScore, ...]
    confusion: Int[np.ndarray, "C C"] | None

    @property
    def standard_error(self) -> float:
        """Standard deviation of accuracy over other samples of n rows."""
        return float(np.sqrt(self.accuracy * (1 - self.accuracy) / self.n))


class Confusion(NamedTuple):
    """Rows of one class that were taken for another, and their share of all rows of that class."""

    true: str
    predicted: str
    rows: int
    share: float


def score_classes(
    probabilities: Float[np.ndarray, "N C"],
    labels: Int[np.ndarray, " N"],
    classes: Sequence[str],
    *,
    bins: int = BINS,
) -> ClassificationResult:
    """Score rows of exactly one class.

    Args:
        probabilities: Of each class; the highest is the prediction, of equal ones the first.
        labels: True class of each row.
        classes: Names of the C classes. A class that no row has and none is predicted has F1 0 and counts in the macro
            mean.
        bins: Bins of the calibration curve.

    Raises:
        RunError: If there are no rows, or a probability is not finite.
    """
    p = _checked(probabilities)
    predicted = p.argmax(1)
    right = predicted == labels
    hot = np.eye(len(classes), dtype=bool)
    per_class = _per_class(hot[labels], hot[predicted], classes)
    accuracy = float(right.mean())
    return ClassificationResult(
        len(p),
        accuracy,
        *_means(per_class),
        accuracy,
        float(entr(p).sum(1).mean() / np.log(2)),
        calibration_curve(p.max(1), right, bins),
        per_class,
        confusion_matrix(labels, predicted, labels=range(len(classes))),
    )


def score_labels(
    probabilities: Float[np.ndarray, "N C"],
    labels: Bool[np.ndarray, "N C"],
    classes: Sequence[str],
    thresholds: Float[np.ndarray, " C"] | float = 0.5,
    *,
    bins: int = BINS,
) -> ClassificationResult:
    """Score rows of any number of labels.

    Args:
        probabilities: Of each label.
        labels: Whether the row has it.
        classes: Names of the C labels.
        thresholds: Probability from which a label is predicted, for each or for all.
        bins: Bins of the calibration curve.

    Raises:
        RunError: If there are no rows, or a probability is not finite.
    """
    p = _checked(probabilities)
    predicted = p >= thresholds
    per_class = _per_class(labels, predicted, classes)
    hits, wrong = int((predicted & labels).sum()), int((predicted != labels).sum())
    return ClassificationResult(
        len(p),
        float((predicted == labels).all(1).mean()),
        *_means(per_class),
        2 * hits / (2 * hits + wrong) if hits else 0.0,
        float((entr(p) + entr(1 - p)).mean() / np.log(2)),
        calibration_curve(p.ravel(), labels.ravel(), bins),
        per_class,
        None,
    )


def class_f1(
    labels: Bool[np.ndarray, "N C"],
    predicted: Bool[np.ndarray, "N C"],
    counts: Float[np.ndarray, "*R N"] | None = None,
) -> Float[np.ndarray, "*R C"]:
    """F1 of each class, 0 where no row has it and none is predicted; the mean over classes is macro-F1.

    Args:
        labels: Whether the row has the label.
        predicted: Whether it was predicted.
        counts: How often each row counts, once or in each of R resamples; 1 when None.
    """
    counts = np.ones(len(labels)) if counts is None else counts
    hits = counts @ (labels & predicted)
    return 2 * hits / np.maximum(counts @ (labels.astype(np.float64) + predicted), 1)


def _checked(probabilities: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "N C"]:
    p = np.asarray(probabilities, np.float64)
    if not len(p):
        raise RunError("there are no rows to score")
    if not np.isfinite(p).all():
        raise RunError(
            "a probability is not finite: the model's weights or its precision are broken"
        )
    return p


def _per_class(
    labels: Bool[np.ndarray, "N C"], predicted: Bool[np.ndarray, "N C"], classes: Sequence[str]
) -> tuple[ClassScore, ...]:
    support, guesses = labels.sum(0), predicted.sum(0)
    hits = (labels & predicted).sum(0)
    p, r = hits / np.maximum(guesses, 1), hits / np.maximum(support, 1)
    f1 = class_f1(labels, predicted)
    return tuple(
        ClassScore(name, float(p[c]), float(r[c]), float(f1[c]), int(support[c]), int(guesses[c]))
        for c, name in enumerate(classes)
    )


def _means(per_class: Sequence[ClassScore]) -> tuple[float, float]:
    """Macro and weighted F1."""
    f1 = np.array([each.f1 for each in per_class])
    support = np.array([each.support for each in per_class])
    weighted = float((f1 * support).sum() / support.sum()) if support.any() else 0.0
    return float(f1.mean()), weighted


def bin_of(probabilities: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Index of the bin of each probability, of `bins` equal ones over [0, 1]; an edge belongs to the lower.

    Args:
        probabilities: In [0, 1].
        bins: Their number.
    """
    edges = np.linspace(0, 1, bins + 1)
    return np.clip(np.searchsorted(edges, probabilities, side="left") - 1, 0, bins - 1)


def calibration_curve(
    probabilities: Float[np.ndarray, " M"], right: Bool[np.ndarray, " M"], bins: int = BINS
) -> Calibration:
    """Probabilities in equal bins, and how often they came true.

    Args:
        probabilities: In [0, 1].
        right: Whether what had the probability was so.
        bins: Their number.

    Source: Guo et al. 2017, section 2, https://arxiv.org/abs/1706.04599
    """
    p = np.asarray(probabilities, np.float64)
    places = bin_of(p, bins)
    counts = np.bincount(places, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(places, weights, bins) / counts for weights in (p, right)]
    return Calibration(means[0], means[1], counts)


def confused_pairs(
    confusion: Int[np.ndarray, "C C"], classes: Sequence[str], top: int | None = None
) -> list[Confusion]:
    """Pairs of classes (true, predicted) by confused rows, most first; then by share and by the order of classes.

    Args:
        confusion: Rows by true and predicted class.
        classes: Their names.
        top: How many at most.
    """
    names, support = list(classes), confusion.sum(1)
    pairs = [
        Confusion(names[true], names[other], int(rows), float(rows / support[true]))
        for (true, other), rows in np.ndenumerate(confusion)
        if true != other and rows
    ]
    return sorted(pairs, key=lambda pair: (-pair.rows, -pair.share))[:top]


def confusion_order(confusion: Int[np.ndarray, "C C"]) -> list[int]:
    """An order of the classes in which those that are confused stand beside each other, the most confused pair first.

    A chain from the pair with the largest share of confusions (of both classes together), always on to the class that
    its end is confused with most. Classes that no row has come last among equals.

    Args:
        confusion: Rows by true and predicted class.
    """
    support = confusion.sum(1)
    together = (confusion + confusion.T) / np.maximum(support[:, None] + support[None, :], 1)
    np.fill_diagonal(together, -1.0)
    order = list(range(min(len(confusion), 1)))
    if len(confusion) > 1:
        order = [int(place) for place in np.unravel_index(together.argmax(), together.shape)]
    while len(order) < len(confusion):
        left = [each for each in range(len(confusion)) if each not in order]
        order.append(max(left, key=lambda each: (together[order[-1], each], support[each])))
    return order
