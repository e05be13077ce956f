"""Gain of training where no rows are held out: parts of them are left out of a training in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from textcl.classifier.classifier import Classifier, vectors_of
from textcl.classifier.dev import class_score, standard_error
from textcl.classifier.fitted_head import fit_regression, probabilities_of
from textcl.classifier.labels import ROWS_TO_HOLD_OUT, targets_of_rows
from textcl.classifier.linear_probe import LinearProbe, log_likelihood
from textcl.classifier.settings import LabelledSettings
from textcl.data.roles import label_role
from textcl.data.rows import Rows
from textcl.data.splits import distinct_texts, fold_of
from textcl.encoder.encoder import Encoder
from textcl.method.hooks import Hook

FROZEN, HALF, TRAINED = 0.0, 0.5, 1.0
"""Shares of the way from the weights before training to those after it."""

FEW_ROWS = 1000
"""Rows of which a tenth is too small a dev set to tell a gain of some points from noise."""

_NAMES = {
    FROZEN: "frozen encoder with logistic regression",
    HALF: "mean of frozen and trained weights",
    TRAINED: "trained encoder",
}


@dataclass(frozen=True)
class Comparison:
    """Scores of the trained and the frozen encoder on rows left out of training.

    Args:
        scores: × 100 on these rows, by the share of the way from the frozen to the trained weights.
        likelihoods: Mean log-likelihood of their labels in nats, by the same.
        rows: How many there are.
        folds: Parts that were left out in turn.
        error: Standard error of a score, where it is an accuracy.
    """

    scores: Mapping[float, float]
    likelihoods: Mapping[float, float]
    rows: int
    folds: int
    error: float | None = None

    @property
    def share(self) -> float:
        """The kind that is saved: the highest score, and of equal scores the highest likelihood."""
        return max(self.scores, key=lambda share: (self.scores[share], self.likelihoods[share]))

    def verdict(self) -> str:
        """One line for the end of a run."""
        scores = ", ".join(f"{_NAMES[share]} {score:.2f}" for share, score in self.scores.items())
        error = "" if self.error is None else f" (a standard error {self.error:.1f})"
        level = list(self.scores.values()).count(self.scores[self.share]) > 1
        why = ", of equal scores the likelier," if level else ""
        return (
            f"each of {self.folds} parts of {self.rows:,} rows left out in turn: {scores}{error}; "
            f"the {_NAMES[self.share]}{why} is saved"
        )


def can_fold(
    settings: LabelledSettings, texts: Sequence[str], labels: Sequence[str | Sequence[str]]
) -> bool:
    """Whether the frozen and the trained encoder are compared on rows left out in turn: rows are few, and enough.

    Args:
        settings: Of the run, with its classes.
        texts: Of all training rows.
        labels: Of each; a list where texts have several.
    """
    few = settings.leaves_parts_out and _are_few(settings, texts)
    return few and not too_small_classes(settings, texts, labels)


def _are_few(settings: LabelledSettings, texts: Sequence[str]) -> bool:
    return len(texts) < max(FEW_ROWS, ROWS_TO_HOLD_OUT * len(settings.classes))


def too_small_classes(
    settings: LabelledSettings, texts: Sequence[str], labels: Sequence[str | Sequence[str]]
) -> list[str]:
    """Classes of few rows with fewer different texts than there are parts to leave out: one of these would lack them.

    Args:
        settings: Of the run, with its classes.
        texts: Of all training rows.
        labels: Of each; a list where texts have several, which lack nothing.
    """
    if settings.multi_label or not _are_few(settings, texts):
        return []
    distinct = distinct_texts(texts, labels)
    return [name for name in settings.classes if distinct[name] < settings.compare_folds]


def compare_by_folds(
    settings: LabelledSettings,
    rows: Rows,
    encoder: Encoder,
    train: Callable[[Rows], nn.Module],
) -> Comparison:
    """Train without each part of the rows in turn, and score the frozen and the trained encoder on that part.

    Args:
        settings: Of the run, with its classes.
        rows: All training rows.
        encoder: As it is before training.
        train: Gives the classifier that was trained on some rows from the same start.
    """
    texts, targets = rows.strings("text"), targets_of_rows(settings, rows)
    labels = rows.column(label_role(settings.multi_label))
    folds = fold_of(texts, labels, settings.compare_folds, settings.seed)
    start, frozen = learnt_weights(encoder), vectors_of(encoder, texts, precision="float32")
    logits: dict[float, Float[np.ndarray, "N C"]] = {}

    def note(share: float, held: Int[np.ndarray, " n"], values: Float[np.ndarray, "n C"]) -> None:
        logits.setdefault(share, np.zeros((len(rows), len(settings.classes))))[held] = values

    for fold in range(settings.compare_folds):
        rest, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        probe = fit_regression(settings, frozen[rest], targets[rest])
        note(FROZEN, held, probe.logits(frozen[held]))
        classifier = train(rows.take(rest.tolist()))
        assert isinstance(classifier, Classifier)
        if not settings.FITS_HEAD:
            left_out = [texts[place] for place in held.tolist()]
            note(TRAINED, held, classifier.logits(left_out, precision="float32"))
            continue
        end = learnt_weights(classifier.encoder)
        for share in (HALF, TRAINED):
            blend(classifier.encoder, start, end, share)
            vectors = vectors_of(classifier.encoder, texts, precision="float32")
            probe = fit_regression(settings, vectors[rest], targets[rest])
            note(share, held, probe.logits(vectors[held]))
    scores = {
        share: class_score(targets, probabilities_of(settings, values), settings.selection)
        for share, values in logits.items()
    }
    likelihoods = {
        share: log_likelihood(values, targets) / len(rows) for share, values in logits.items()
    }
    counts_rows = settings.selection == "accuracy"
    error = standard_error(max(scores.values()), len(rows)) if counts_rows else None
    return Comparison(scores, likelihoods, len(rows), settings.compare_folds, error)


def learnt_weights(module: nn.Module) -> dict[str, Tensor]:
    """Copies of the weights that training changes, by name."""
    return {
        name: weight.detach().clone()
        for name, weight in module.named_parameters()
        if weight.requires_grad
    }


@torch.no_grad()
def blend(
    module: nn.Module, start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float
) -> None:
    """Let a module have the weights start + share · (end − start).

    Args:
        module: Whose weights are replaced.
        start: What `learnt_weights` gave before a training.
        end: What it gave after it.
        share: In [0, 1].

    Source: Wortsman et al. 2022, https://arxiv.org/abs/2109.01903
    """
    weights = dict(module.named_parameters())
    for name, value in end.items():
        weights[name].copy_(torch.lerp(start[name].to(value.device), value, share))


class KeepShare(Hook):
    """Before a model is saved at the end, moves its weights back as far as a comparison says.

    Args:
        classifier: As it is before its training.
        share: Of the way from those weights to the trained ones.
        probe: The logistic regression on the frozen encoder, which the head becomes where nothing of the training is
            kept; None where the head is fitted anyway.
    """

    def __init__(
        self, classifier: Classifier, share: float, probe: LinearProbe | None = None
    ) -> None:
        self.classifier, self.share, self.probe = classifier, share, probe
        self.start, self._moved = learnt_weights(classifier.encoder), False

    def after_update(self, step: int) -> None:  # noqa: D102
        self._moved = False

    def before_saving(self) -> None:  # noqa: D102
        if self._moved:
            return
        encoder = self.classifier.encoder
        blend(encoder, self.start, learnt_weights(encoder), self.share)
        if self.probe is not None and self.share == FROZEN:
            self.classifier.head.start_from(self.probe.weight, self.probe.bias)
        self._moved = True
