"""Fit on held-out rows when a classifier rejects a text, and measure how well it separates known classes from none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from textcl.classifier.classifier import Classifier, Targets, vectors_of
from textcl.classifier.rejection import KINDS, Kind, Rejection, RowScore, kind_of_score
from textcl.data.arguments import checked_arguments
from textcl.data.splits import fold_of
from textcl.data.texts import as_texts
from textcl.errors import UserError
from textcl.evaluation.out_of_scope import (
    OutOfScopeResult,
    balanced_threshold,
    score_rejection,
    threshold_keeping,
)

_FOLDS, _ROWS, _OUTSIDE, _KEPT = 5, 20, 10, 0.95


@dataclass(frozen=True)
class RejectionReport:
    """Result of fitting a rejection, with its scores on rows left out.

    Args:
        rejection: The score and its threshold.
        rows: Held-out rows of known classes.
        outside: Rows of none.
        accuracy: Share of the held-out rows whose class is right, before any is rejected.
        accepted: Share of them that is accepted.
        right: Share of the accepted ones whose class is right.
        scores: What each kind of score is worth, where rows of none were given; recall and accuracy of each fifth of
            the rows at the threshold that the other four gave.
    """

    rejection: Rejection
    rows: int
    outside: int
    accuracy: float
    accepted: float
    right: float
    scores: Mapping[str, OutOfScopeResult]

    def describe(self) -> str:
        """Lines for the terminal."""
        lines = [
            f"score {self.rejection.name}, threshold {self.rejection.threshold:.4f}: accepts "
            f"{100 * self.accepted:.1f} % of {self.rows:,} rows; accuracy × 100 {100 * self.accuracy:.2f} on all, "
            f"{100 * self.right:.2f} on the accepted"
        ]
        if self.scores:
            best = max(self.scores, key=lambda name: self.scores[name].auroc)
            if best != self.rejection.name:
                lines.append(
                    f"{best} tells these {self.outside:,} rows of no class apart better, by AUROC: --score {best}"
                )
        return "\n".join(lines)


@dataclass(frozen=True)
class _Rows:
    """Rows as scores read them."""

    vectors: Float[np.ndarray, "N D"]
    logits: Float[np.ndarray, "N C"]


@checked_arguments
def fit_rejection(
    classifier: Classifier,
    texts: Iterable[str],
    labels: Iterable[object],
    *,
    train: tuple[Iterable[str], Iterable[object]] | None = None,
    outside: Iterable[str] = (),
    score: str = "nearest",
    keep: float | None = None,
    place: str = "the data",
) -> RejectionReport:
    """Fit a score and its threshold on held-out rows, and set them as `classifier.rejection`.

    Args:
        classifier: Gives a text one label. Its classes and probabilities stay as they are.
        texts: Held-out texts of known classes.
        labels: A name for each.
        train: Texts and labels that `nearest` and `mahalanobis` compare with. The held-out ones when None, each fifth
            of which is then judged by the other four.
        outside: Texts of none of the classes.
        score: nearest, mahalanobis, energy, margin or softmax.
        keep: Share of the held-out texts that is accepted at least. When None 0.95, or where there are texts outside
            what has the best mean of both rates: held-out texts accepted, texts outside rejected.
        place: What a message calls the held-out texts.

    Raises:
        UserError: If texts have several labels, a label is none of the classes, or rows are too few.
    """
    kind = kind_of_score(score)
    texts, outside = list(as_texts(texts)), list(as_texts(outside))
    _check(classifier, len(texts), len(outside), keep, place)
    targets = classifier.targets(labels, place)
    inside, beyond = _rows(classifier, texts), _rows(classifier, outside)
    known, ids, folds = inside.vectors, targets, fold_of(texts, targets.tolist(), _FOLDS, seed=0)
    if train is not None:
        known, ids = (
            _rows(classifier, list(as_texts(train[0]))).vectors,
            classifier.targets(train[1], "train"),
        )
    right = inside.logits.argmax(1) == targets

    def judged(each: Kind) -> tuple[RowScore, np.ndarray]:
        """The score, and what it gives held-out rows."""
        fitted = each.fit(known, ids)
        if train is None and each.compares:
            return fitted, _cross_fitted(each, inside, targets, folds)
        return fitted, fitted(inside.logits, inside.vectors)

    fitted, own = judged(kind)
    others = fitted(beyond.logits, beyond.vectors)
    threshold = _threshold(own, others, keep)
    classifier.rejection = Rejection(score, fitted, threshold)
    scores: dict[str, OutOfScopeResult] = {}
    for name, each in KINDS.items() if len(outside) else ():
        value, held = judged(each)
        scores[name] = _cross_measured(
            held, right, value(beyond.logits, beyond.vectors), folds, keep
        )
    accepted = own >= threshold
    return RejectionReport(
        classifier.rejection,
        len(texts),
        len(outside),
        float(right.mean()),
        float(accepted.mean()),
        float(right[accepted].mean()) if accepted.any() else float("nan"),
        scores,
    )


def _check(classifier: Classifier, rows: int, outside: int, keep: float | None, place: str) -> None:
    if classifier.multi_label:
        raise UserError(
            "this classifier gives a text any number of labels: one of none of the classes is a text without labels, "
            "and nothing is left to reject"
        )
    if len(classifier.classes) < 2:
        raise UserError("this classifier has a single class: rejecting takes two or more")
    if rows < _ROWS:
        raise UserError(
            f"{place} has {rows} rows: a threshold takes {_ROWS} or more, better hundreds"
        )
    if 0 < outside < _OUTSIDE:
        raise UserError(
            f"there are {outside} texts of none of the classes: a threshold takes {_OUTSIDE} or more, or none at all"
        )
    if keep is not None and not 0 < keep <= 1:
        raise UserError(f"expected a share to keep above 0, up to 1, got {keep:g}")


def _rows(classifier: Classifier, texts: Sequence[str]) -> _Rows:
    if not len(texts):
        empty = np.zeros((0, classifier.encoder.dimension), np.float32)
        return _Rows(empty, np.zeros((0, len(classifier.classes)), np.float32))
    vectors = vectors_of(classifier.encoder, texts, precision="float32")
    return _Rows(vectors, classifier.logits_of(vectors))


def _cross_fitted(kind: Kind, rows: _Rows, targets: Targets, folds: np.ndarray) -> np.ndarray:
    """Scores of each fold by what was fitted on the others."""
    scores = np.zeros(len(targets))
    for fold in np.unique(folds):
        held = folds == fold
        fitted = kind.fit(rows.vectors[~held], targets[~held])
        scores[held] = fitted(rows.logits[held], rows.vectors[held])
    return scores


def _threshold(inside: np.ndarray, outside: np.ndarray, keep: float | None) -> float:
    if keep is None and len(outside):
        return balanced_threshold(inside, outside)
    return threshold_keeping(inside, _KEPT if keep is None else keep)


def _cross_measured(
    inside: np.ndarray,
    right: np.ndarray,
    outside: np.ndarray,
    folds: np.ndarray,
    keep: float | None,
) -> OutOfScopeResult:
    """Recall and accuracy of each fold at the threshold of the others."""
    other_folds = np.arange(len(outside)) % _FOLDS
    whole = score_rejection(inside, right, outside, _threshold(inside, outside, keep))
    accepted, rejected = np.zeros(len(inside), bool), np.zeros(len(outside), bool)
    for fold in range(_FOLDS):
        mine, theirs = folds == fold, other_folds == fold
        threshold = _threshold(inside[~mine], outside[~theirs], keep)
        accepted[mine], rejected[theirs] = inside[mine] >= threshold, outside[theirs] < threshold
    return OutOfScopeResult(
        whole.auroc,
        whole.fpr95,
        float(rejected.mean()),
        float((accepted & right).mean()),
        float(accepted.mean()),
    )
