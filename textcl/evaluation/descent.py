"""Stochastic gradients on stacked weights: the rules of a step, and when training ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

Weights = Float32[np.ndarray, "F K D"]
"""Of F splits; K runs over classes, and in each over the weight decays; the last column is the bias."""

Rule = Callable[[Weights, Weights, Float32[np.ndarray, "2 F K D"], int], None]
"""An update of weights in place by their slope (then scratch), two moments and the number of the step, from 1."""


def adam(
    weights: Weights, slope: Weights, moments: Float32[np.ndarray, "2 F K D"], step: int
) -> None:
    """A step of Adam at its default rates; a `Rule`."""
    mean, square = moments
    mean += 0.1 * (slope - mean)
    slope *= slope
    slope *= 0.001
    square *= 0.999
    square += slope
    np.sqrt(square, out=slope)
    slope /= (1 - 0.999**step) ** 0.5
    slope += 1e-8
    np.divide(mean, slope, out=slope)
    slope *= 0.001 / (1 - 0.9**step)
    weights -= slope


def rmsprop(
    weights: Weights, slope: Weights, moments: Float32[np.ndarray, "2 F K D"], step: int
) -> None:
    """A step of RMSprop at torch's default rates; a `Rule`."""
    square = moments[1]
    square *= 0.99
    square += 0.01 * slope * slope
    slope /= np.sqrt(square) + 1e-8
    slope *= 0.01
    weights -= slope


@dataclass(frozen=True)
class Descent:
    """How a classifier is trained.

    Args:
        rule: How a step changes the weights.
        batch: Rows of a step.
        patience: Evaluations without a gain that training outlasts; they are counted over the whole of it.
        passes: Passes over the rows between two evaluations.
    """

    rule: Rule = adam
    batch: int = 64
    patience: int = 5
    passes: int = 4
