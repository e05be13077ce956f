"""A head that is fitted to the vectors of the trained encoder instead of being trained with it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import expit, softmax

from textcl.classifier.classifier import Classifier, vectors_of
from textcl.classifier.labels import targets_of_rows
from textcl.classifier.linear_probe import LinearProbe, fit_linear_probe, probe_places
from textcl.classifier.settings import LabelledSettings
from textcl.classifier.targets import Targets
from textcl.data.rows import Rows
from textcl.method.hooks import Hook


def fit_regression(
    settings: LabelledSettings,
    vectors: Float[np.ndarray, "N D"],
    targets: Targets,
    strength: float | None = None,
) -> LinearProbe:
    """The logistic regression of a run: `fit_linear_probe` with its classes, their weights, and what its head reads."""
    return fit_linear_probe(
        vectors,
        targets,
        len(settings.classes),
        class_weights=settings.weights or settings.positive_weights,
        strength=strength,
        normalize=settings.FITS_HEAD,
        seed=settings.seed,
    )


def probabilities_of(
    settings: LabelledSettings, logits: Float[np.ndarray, "N C"]
) -> Float[np.ndarray, "N C"]:
    """Softmax of logits; sigmoid where rows have several labels."""
    return expit(logits) if settings.multi_label else softmax(logits, axis=1)


class FitHead(Hook):
    """Makes the head of a classifier a logistic regression, whenever it is scored or saved.

    Its strength is chosen by cross-validation on the training rows. For a score it is fitted to them, for what is saved
    also to the rows that were held out.

    Args:
        classifier: Whose head is one linear layer.
        settings: Of the run, with its classes.
        rows: To train on; of more than 10,000 a part is used.
        held_out: Rows that were held out of them; None where dev is a file or there is none.
    """

    def __init__(
        self,
        classifier: Classifier,
        settings: LabelledSettings,
        rows: Rows,
        held_out: Rows | None = None,
    ) -> None:
        self.classifier, self.settings = classifier, settings
        places = probe_places(len(rows), settings.seed)
        self.rows = rows if len(places) == len(rows) else rows.take(places)
        self.held_out = held_out
        self._fitted: tuple[LinearProbe, Float[np.ndarray, "N D"], Targets] | None = None

    def after_update(self, step: int) -> None:  # noqa: D102
        self._fitted = None

    def before_scoring(self) -> None:  # noqa: D102
        self._take(self._fit()[0])

    def before_saving(self) -> None:  # noqa: D102
        probe, vectors, targets = self._fit()
        if self.held_out is not None:
            more, known = self._read(self.held_out)
            vectors, targets = np.concatenate([vectors, more]), np.concatenate([targets, known])
            probe = fit_regression(self.settings, vectors, targets, probe.strength)
        self._take(probe)

    def _fit(self) -> tuple[LinearProbe, Float[np.ndarray, "N D"], Targets]:
        """The regression on the training rows, once for each state of the encoder."""
        if self._fitted is None:
            vectors, targets = self._read(self.rows)
            self._fitted = fit_regression(self.settings, vectors, targets), vectors, targets
        return self._fitted

    def _read(self, rows: Rows) -> tuple[Float[np.ndarray, "N D"], Targets]:
        vectors = vectors_of(self.classifier.encoder, rows.column("text"), precision="float32")
        return vectors, targets_of_rows(self.settings, rows)

    def _take(self, probe: LinearProbe) -> None:
        self.classifier.head.start_from(probe.weight, probe.bias)
