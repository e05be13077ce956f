"""The line to beat: what logistic regression on the vectors of the frozen encoder scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from textcl.classifier.classifier import Targets, vectors_of
from textcl.classifier.dev import DevTexts, class_score, standard_error
from textcl.classifier.fitted_head import fit_regression, probabilities_of
from textcl.classifier.labels import targets_of_rows
from textcl.classifier.linear_probe import (
    LinearProbe,
    as_read,
    out_of_fold,
    probe_places,
)
from textcl.classifier.settings import LabelledSettings
from textcl.data.rows import Rows
from textcl.encoder.encoder import Encoder
from textcl.training.position import Position

_FEW = 500


@dataclass(frozen=True)
class Baseline:
    """Score that training has to beat, and how it was measured.

    Args:
        probe: The logistic regression.
        score: Of the frozen encoder with it, × 100.
        place: What it was scored on.
        rows: How many rows that is.
        compared: Whether training is scored on the same rows.
        starts: Whether training starts there, so that the frozen encoder can be what is saved.
        unit: What `rows` counts.
        counts_rows: Whether the score is the share of them that is right, and so has a standard error.
    """

    probe: LinearProbe
    score: float
    place: str
    rows: int
    compared: bool
    starts: bool
    unit: str = "rows"
    counts_rows: bool = True

    def describe(self) -> str:
        """One line for the preview."""
        start = ", where training starts" if self.starts else ""
        return f"{self.score:.2f} {self.place}: {self.probe.describe()}{start}"

    def verdict(self, position: Position, reason: str = "no rows are set apart") -> str:
        """One line for the end of a run: whether training beat it, and what is saved.

        Args:
            position: Where the run ended.
            reason: Why there was nothing to compare on.
        """
        line = f"the frozen encoder with logistic regression ({self.score:.2f} {self.place})"
        if not self.compared or position.best is None:
            return f"training was not compared with {line}: {reason}; name --dev FILE, or a share such as --dev 0.1"
        if position.best > self.score:
            return f"training beat {line} by {position.best - self.score:.2f}{self._doubt()}"
        if self.starts and not position.best_step:
            return f"training did not beat {line}: that is the model that is saved"
        if position.best == self.score:
            return f"training is level with {line}: the trained model is saved"
        return f"training did not beat {line}, and the trained model is saved{self._instead()}"

    def _doubt(self) -> str:
        if self.rows >= _FEW or not self.counts_rows:
            return ""
        error = standard_error(self.score, self.rows)
        return f"; one of {self.rows} {self.unit} is {100 / self.rows:.1f}, a standard error {error:.1f}"

    def _instead(self) -> str:
        return "" if self.starts else "; --set head=linear starts from the regression"


def measure_baseline(
    encoder: Encoder,
    settings: LabelledSettings,
    rows: Rows,
    dev: DevTexts | None,
    *,
    starts: bool,
) -> Baseline:
    """Fit a logistic regression to the training rows, and score it.

    It is scored on dev; without dev on training rows that its fold was not fitted on, 1,000 at most.

    Args:
        encoder: As it is before training.
        settings: Of the run, with its classes.
        rows: To train on; of more than 10,000 a part is used.
        dev: What selects the weights.
        starts: Whether heads start from the regression.
    """
    places = probe_places(len(rows), settings.seed)
    chosen = rows if len(places) == len(rows) else rows.take(places)
    vectors = vectors_of(encoder, chosen.column("text"), precision="float32")
    targets = targets_of_rows(settings, chosen)
    held = None
    if dev is not None:
        held = dev, vectors_of(encoder, dev.texts, precision="float32")
    return baseline_of(settings, vectors, targets, held, starts=starts)


def baseline_of(
    settings: LabelledSettings,
    vectors: Float[np.ndarray, "N D"],
    targets: Targets,
    dev: tuple[DevTexts, Float[np.ndarray, "M D"]] | None,
    *,
    starts: bool,
) -> Baseline:
    """The same, of vectors that are at hand.

    Args:
        settings: Of the run, with its classes.
        vectors: Of training rows, not normalised.
        targets: Of these rows.
        dev: What selects the weights, and its vectors.
        starts: Whether heads start from the regression.
    """
    weights = settings.weights or settings.positive_weights
    count = len(settings.classes)
    counts_rows = settings.selection == "accuracy"
    probe = fit_regression(settings, vectors, targets)
    if dev is not None:
        texts, known = dev
        score = texts.score(probabilities_of(settings, probe.logits(known)))
        return Baseline(
            probe, score, "on dev", len(texts.texts), True, starts, counts_rows=counts_rows
        )
    held, logits = out_of_fold(
        as_read(vectors, probe.normalize),
        targets,
        count,
        probe.strength,
        class_weights=weights,
        seed=settings.seed,
    )
    score = class_score(targets[held], probabilities_of(settings, logits), settings.selection)
    place = f"on {len(held):,} training rows, each by the other two thirds"
    return Baseline(probe, score, place, len(held), False, starts, counts_rows=counts_rows)
