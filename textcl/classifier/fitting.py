"""The temperature and the thresholds that fit held-out rows best."""

from __future__ import annotations

from typing import cast

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import brentq
from scipy.special import expit, softmax

from textcl.errors import UserError

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
    zero = cast(float, brentq(slope, low, high, xtol=1e-10))  # typed as a pair there
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
