"""Logistic regression on the vectors of a frozen encoder: the line to beat, and where a head starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Float, Int
from scipy.special import log_expit, log_softmax

from textcl.arithmetic import unit_rows
from textcl.classifier.classifier import Targets

STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Candidates for scikit-learn's C, for vectors of unit spread."""

_FOLDS, _ROWS_FOR_STRENGTH, _ROWS = 3, 1000, 10_000


@dataclass(frozen=True)
class LinearProbe:
    """A fitted logistic regression: logits are weight · x + bias.

    Args:
        weight: One row for each class.
        bias: One number for each class.
        strength: scikit-learn's C, for vectors of unit spread.
        rows: Rows that it was fitted on.
        normalize: Whether vectors are brought to length 1 first.
    """

    weight: Float[np.ndarray, "C D"]
    bias: Float[np.ndarray, " C"]
    strength: float
    rows: int
    normalize: bool = False

    def describe(self) -> str:
        """One phrase for the terminal."""
        return (
            f"logistic regression on the frozen encoder ({self.rows:,} rows, C = {self.strength:g})"
        )

    def logits(self, vectors: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N C"]:
        """Class logits of vectors.

        Args:
            vectors: Of the encoder, not normalised.
        """
        return as_read(vectors, self.normalize) @ self.weight.T + self.bias


def as_read(vectors: Float[np.ndarray, "N D"], normalize: bool) -> Float[np.ndarray, "N D"]:
    """Vectors as a regression reads them: as they are, or of length 1."""
    return unit_rows(vectors) if normalize else vectors


def probe_places(rows: int, seed: int) -> list[int]:
    """Rows that a logistic regression is fitted on: all, or of many a part drawn with the seed.

    Args:
        rows: How many there are.
        seed: Of the run.
    """
    if rows <= _ROWS:
        return list(range(rows))
    chosen = np.random.Generator(np.random.PCG64(seed)).permutation(rows)[:_ROWS]
    return np.sort(chosen).tolist()


def fit_linear_probe(
    vectors: Float[np.ndarray, "N D"],
    targets: Targets,
    classes: int,
    *,
    class_weights: Sequence[float] | None = None,
    strength: float | None = None,
    normalize: bool = False,
    seed: int = 0,
) -> LinearProbe:
    """Logistic regression whose strength has the highest likelihood in cross-validation.

    Where rows have several labels, one regression for each class against the rest, all of one strength.

    Args:
        vectors: Of the frozen encoder, not normalised.
        targets: Class ids, or which classes each row has.
        classes: Number of classes; those without a row get a logit below the others.
        class_weights: How much rows of each class count; with several labels, how much a label counts beside its
            absence.
        strength: scikit-learn's C, for vectors of unit spread; chosen when None.
        normalize: Whether vectors are brought to length 1 first.
        seed: What the folds follow from.
    """
    vectors = as_read(vectors, normalize)
    x, middle, spread = _of_unit_spread(vectors)
    weights = _weights(class_weights, classes)
    if strength is None:
        strength = _strength(x, targets, weights, seed)
    weight, bias = _fit(x, targets, weights, strength)
    weight = weight / spread
    return LinearProbe(weight, bias - weight @ middle, strength, len(x), normalize)


def out_of_fold(
    vectors: Float[np.ndarray, "N D"],
    targets: Targets,
    classes: int,
    strength: float,
    *,
    class_weights: Sequence[float] | None = None,
    seed: int = 0,
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n C"]]:
    """Class logits of training rows by regressions that were fitted without them.

    Args:
        vectors: Of the frozen encoder, not normalised.
        targets: Class ids, or which classes each row has.
        classes: Number of classes.
        strength: scikit-learn's C, for vectors of unit spread.
        class_weights: As of `fit_linear_probe`.
        seed: What the folds follow from; with that of `fit_linear_probe` they are those of its cross-validation.

    Returns:
        Places of the rows, at most 1,000, and their logits.
    """
    x, weights = _of_unit_spread(vectors)[0], _weights(class_weights, classes)
    places: list[np.ndarray] = []
    logits: list[np.ndarray] = []
    for fold, rest in _folds(len(x), seed):
        weight, bias = _fit(x[rest], targets[rest], weights, strength)
        places.append(fold)
        logits.append(x[fold] @ weight.T + bias)
    return np.concatenate(places), np.concatenate(logits)


def _of_unit_spread(
    vectors: Float[np.ndarray, "N D"],
) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, " D"], float]:
    """Vectors around their mean of unit spread, the mean, and the spread."""
    middle = vectors.mean(0)
    spread = float(np.sqrt(((vectors - middle) ** 2).sum(1).mean())) or 1.0
    return ((vectors - middle) / spread).astype(np.float64), middle, spread


def _weights(class_weights: Sequence[float] | None, classes: int) -> Float[np.ndarray, " C"]:
    return np.ones(classes) if class_weights is None else np.asarray(class_weights, np.float64)


def _folds(rows: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Places of each fold, and of the rows outside it."""
    order = np.random.Generator(np.random.PCG64(seed)).permutation(rows)[:_ROWS_FOR_STRENGTH]
    return [(fold, np.setdiff1d(order, fold)) for fold in np.array_split(order, _FOLDS)]


def _strength(
    x: Float[np.ndarray, "N D"], targets: Targets, weights: Float[np.ndarray, " C"], seed: int
) -> float:
    folds = _folds(len(x), seed)

    def likelihood(strength: float) -> float:
        total = 0.0
        for fold, rest in folds:
            weight, bias = _fit(x[rest], targets[rest], weights, strength)
            total += log_likelihood(x[fold] @ weight.T + bias, targets[fold])
        return total

    return max(STRENGTHS, key=likelihood)


def log_likelihood(logits: Float[np.ndarray, "N C"], targets: Targets) -> float:
    """Log-likelihood of all targets in nats: of a softmax, or where rows have several labels of a sigmoid each."""
    if targets.ndim == 2:
        return float(log_expit(np.where(targets, logits, -logits)).sum())
    return float(log_softmax(logits, axis=1)[np.arange(len(targets)), targets].sum())


def _fit(
    x: Float[np.ndarray, "N D"],
    targets: Targets,
    weights: Float[np.ndarray, " C"],
    strength: float,
) -> tuple[Float[np.ndarray, "C D"], Float[np.ndarray, " C"]]:
    weight, bias = np.zeros((len(weights), x.shape[1])), np.zeros(len(weights))
    if targets.ndim == 2:
        for place in range(len(weights)):
            row, offset = _two(x, targets[:, place], strength, {0: 1.0, 1: weights[place]})
            weight[place], bias[place] = row, offset
        return weight, bias
    present, ids = np.unique(targets, return_inverse=True)
    if len(present) == 2:
        row, offset = _two(x, ids == 1, strength, dict(enumerate(weights[present])))
        weight[present], bias[present] = np.stack([-row, row]) / 2, np.array([-offset, offset]) / 2
    elif len(present) > 2:
        weight[present], bias[present] = _regression(
            x, ids, strength, dict(enumerate(weights[present]))
        )
    absent = np.setdiff1d(np.arange(len(weights)), present)
    bias[absent] = bias[present].min() - np.log(len(x) + 1)
    return weight, bias


def _two(
    x: Float[np.ndarray, "N D"],
    holds: np.ndarray,
    strength: float,
    weights: dict[int, float],
) -> tuple[Float[np.ndarray, " D"], float]:
    """A yes or no; of rows that all say the same, the log-odds of one row more on either side."""
    yes = int(holds.sum())
    if yes in (0, len(holds)):
        return np.zeros(x.shape[1]), float(np.log((yes + 0.5) / (len(holds) - yes + 0.5)))
    coefficients, offsets = _regression(x, holds.astype(np.int64), strength, weights)
    return coefficients[0], float(offsets[0])


def _regression(
    x: Float[np.ndarray, "N D"], ids: np.ndarray, strength: float, weights: dict[int, float]
) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.linear_model import LogisticRegression

    plain = all(weight == 1.0 for weight in weights.values())
    model = LogisticRegression(C=strength, max_iter=1000, class_weight=None if plain else weights)
    model.fit(x, ids)
    return cast(np.ndarray, model.coef_), cast(np.ndarray, model.intercept_)
