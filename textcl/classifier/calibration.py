"""Fit a classifier's temperature and thresholds on held-out rows, and tell what that changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import brentq
from scipy.special import expit, softmax

from textcl.classifier.classifier import NOTE_FILE, Classifier, Targets
from textcl.data.files import atomic_write, read_json
from textcl.errors import UserError
from textcl.evaluation.classification import BINS, calibration_curve

_FOLDS = 5


@dataclass(frozen=True)
class CalibrationReport:
    """What was fitted, and what it changes on rows that it was not fitted on.

    Args:
        temperature: Divides the logits from now on.
        thresholds: Of each class, where texts have several; else 0.5 everywhere.
        rows: Rows that both were fitted on.
        error_before: Expected calibration error of the probabilities as they were, in [0, 1].
        error_after: The same with a temperature fitted on the other rows: each fifth with that of the other four.
        f1_before: Macro-F1 with the thresholds as they were, where texts have several labels.
        f1_after: The same with thresholds fitted on the other rows.
    """

    temperature: float
    thresholds: Float[np.ndarray, " C"]
    rows: int
    error_before: float
    error_after: float
    f1_before: float | None = None
    f1_after: float | None = None

    def describe(self) -> str:
        """Lines for the terminal."""
        how = f"{self.rows:,} rows; after: each fifth with what the other four gave"
        lines = [
            f"temperature {self.temperature:.3f}: expected calibration error "
            f"{100 * self.error_before:.2f} % → {100 * self.error_after:.2f} % ({BINS} bins, {how})"
        ]
        if self.f1_before is not None and self.f1_after is not None:
            low, high = self.thresholds.min(), self.thresholds.max()
            lines.append(
                f"thresholds {low:.3f} to {high:.3f}: macro-F1 {100 * self.f1_before:.2f} → {100 * self.f1_after:.2f}"
            )
        return "\n".join(lines)


def calibrate(
    classifier: Classifier, texts: Sequence[str], labels: Iterable[Any], place: str = "the data"
) -> CalibrationReport:
    """Fit the temperature, and where texts have several labels the thresholds, and set them in the classifier.

    Args:
        classifier: What is calibrated. Which class of a text is the most probable does not change.
        texts: Held-out texts: neither trained on nor to be tested on.
        labels: A name for each, or a list of names.
        place: What a message calls them.

    Raises:
        UserError: If a label is none of the classes, or there are fewer than 10 rows.
    """
    if len(texts) < 10:
        raise UserError(
            f"{place} has {len(texts)} rows: calibration takes 10 or more, better hundreds"
        )
    targets = classifier.targets(labels, place)
    logits = np.asarray(classifier.logits(texts, precision="float32"), np.float64)
    before = classifier.probabilities(logits).astype(np.float64)
    held = _held_out(logits, targets, classifier)
    temperature, thresholds = _fitted(logits, targets, classifier)
    f1_before = f1_after = None
    if classifier.multi_label:
        f1_before = _macro_f1(targets, classifier.decide(before))
        f1_after = _macro_f1(targets, held.decisions)
    report = CalibrationReport(
        temperature,
        thresholds,
        len(texts),
        _error(before, targets),
        _error(held.probabilities, targets),
        f1_before,
        f1_after,
    )
    classifier.temperature, classifier.thresholds = temperature, thresholds
    return report


def write_calibration(folder: Path, report: CalibrationReport, data: str) -> None:
    """Put the temperature and thresholds into a classifier's folder; its weights are not touched.

    Args:
        folder: What `Classifier.save_pretrained` wrote.
        report: What `calibrate` gave.
        data: Name of the rows, for the reader of the file.
    """
    note = read_json(folder / NOTE_FILE)
    note["temperature"], note["thresholds"] = report.temperature, report.thresholds.tolist()
    note["calibration"] = {
        "data": data,
        "rows": report.rows,
        "error_before": report.error_before,
        "error_after": report.error_after,
        "macro_f1_before": report.f1_before,
        "macro_f1_after": report.f1_after,
    }
    with atomic_write(folder / NOTE_FILE) as file:
        file.write((json.dumps(note, indent=1, ensure_ascii=False) + "\n").encode())


@dataclass(frozen=True)
class _HeldOut:
    probabilities: Float[np.ndarray, "N C"]
    decisions: Bool[np.ndarray, "N C"]


def _fitted(
    logits: Float[np.ndarray, "N C"], targets: Targets, classifier: Classifier
) -> tuple[float, Float[np.ndarray, " C"]]:
    temperature = fit_temperature(logits, targets)
    if not classifier.multi_label:
        return temperature, np.full(len(classifier.classes), 0.5)
    probabilities = classifier.probabilities(logits, temperature).astype(np.float64)
    return temperature, fit_thresholds(probabilities, targets)


def _held_out(
    logits: Float[np.ndarray, "N C"], targets: Targets, classifier: Classifier
) -> _HeldOut:
    """Each fifth of the rows with what the other four fifths gave."""
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(logits))
    probabilities = np.zeros(logits.shape)
    decisions = np.zeros(logits.shape, dtype=bool)
    for fold in np.array_split(order, _FOLDS):
        rest = np.setdiff1d(order, fold)
        temperature, thresholds = _fitted(logits[rest], targets[rest], classifier)
        probabilities[fold] = classifier.probabilities(logits[fold], temperature)
        decisions[fold] = probabilities[fold] >= thresholds
    return _HeldOut(probabilities, decisions)


def _error(probabilities: Float[np.ndarray, "N C"], targets: Targets) -> float:
    """Of the highest probability of each row; where rows have several labels, of the probability of each label."""
    if targets.ndim == 2:
        return calibration_curve(probabilities.ravel(), targets.ravel()).error
    return calibration_curve(probabilities.max(1), probabilities.argmax(1) == targets).error


def _macro_f1(targets: Targets, decisions: Any) -> float:
    from sklearn.metrics import f1_score

    never: Any = 0.0  # typed as text there
    score: Callable[..., Any] = f1_score
    return float(score(targets, decisions, average="macro", zero_division=never))


TEMPERATURES = (0.01, 100.0)
"""Lowest and highest temperature that is fitted."""


def fit_temperature(
    logits: Float[np.ndarray, "N C"], labels: Int[np.ndarray, " N"] | Bool[np.ndarray, "N C"]
) -> float:
    """The temperature T with the lowest mean negative log-likelihood of softmax(logits / T).

    The loss is convex in 1/T, so the zero of its slope is the only minimum. It never changes which class is the most
    probable.

    Args:
        logits: Class logits of held-out rows.
        labels: Class of each row; or whether each class is a label of the row, for the likelihood of
            sigmoid(logits / T).

    Returns:
        T within `TEMPERATURES`: the low end where every row is right, the high end where logits tell nothing.

    Raises:
        UserError: If there are no rows, or a logit is not finite.

    Source: Guo et al. 2017, section 4.2, https://arxiv.org/abs/1706.04599
    """
    z = np.asarray(logits, np.float64)
    if not len(z):
        raise UserError("fitting a temperature takes held-out rows, got none")
    if not np.isfinite(z).all():
        raise UserError("fitting a temperature takes finite logits: the model's weights are broken")
    several = labels.ndim == 2
    targets = labels.astype(np.float64) if several else np.eye(z.shape[1])[labels]

    def slope(log_inverse: float) -> float:
        scaled = z * np.exp(log_inverse)
        p = expit(scaled) if several else softmax(scaled, axis=1)
        return float(((p - targets) * z).sum(1).mean())

    low, high = -np.log(TEMPERATURES[1]), -np.log(TEMPERATURES[0])
    if slope(low) >= 0:
        return TEMPERATURES[1]
    if slope(high) <= 0:
        return TEMPERATURES[0]
    zero: Any = brentq(slope, low, high, xtol=1e-10)  # typed as a pair there
    return float(np.exp(-zero))


def fit_thresholds(
    probabilities: Float[np.ndarray, "N C"], labels: Bool[np.ndarray, "N C"]
) -> Float[np.ndarray, " C"]:
    """For each label the threshold with the highest F1 when it is predicted from that probability on.

    A threshold lies halfway between the probabilities that it parts. Of thresholds with equal F1 the one nearest to 0.5
    is taken, of two as near the higher. A label that no row has keeps 0.5.

    Args:
        probabilities: Of each label, for held-out rows.
        labels: Whether a row has the label.

    Raises:
        UserError: If there are no rows, or a probability lies outside [0, 1].

    Source: Lipton et al. 2014, https://arxiv.org/abs/1402.1892, whose F1-optimal threshold is half the optimal F1
    """
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels, bool)
    if not len(p):
        raise UserError("fitting thresholds takes held-out rows, got none")
    if not ((p >= 0) & (p <= 1)).all():
        raise UserError("fitting thresholds takes probabilities between 0 and 1")
    return np.array([_threshold(p[:, c], y[:, c]) for c in range(p.shape[1])])


def _threshold(p: Float[np.ndarray, " N"], y: Bool[np.ndarray, " N"]) -> float:
    if not y.any():
        return 0.5
    values, places = np.unique(p, return_inverse=True)  # ascending
    rows = np.bincount(places, minlength=len(values))
    hits = np.bincount(places, weights=y, minlength=len(values))
    # predicted from each distinct value on: F1 = 2 hits / (predicted + positives)
    f1 = 2 * hits[::-1].cumsum()[::-1] / (rows[::-1].cumsum()[::-1] + y.sum())
    below = np.concatenate([[0.0], values[:-1]])
    middle = (below + values) / 2
    cuts = np.where(middle > below, middle, values)
    best = cuts[f1 >= f1.max() - 1e-12]
    near = np.abs(best - 0.5)
    return float(best[near <= near.min() + 1e-12].max())
