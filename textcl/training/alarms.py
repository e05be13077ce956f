"""Alarms: what a healthy run never shows, looked for whenever the loop logs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from textcl.arithmetic import unit
from textcl.types import Embeddings

SPREAD = 0.1
"""Of 1/√D, the spread of unit rows that point everywhere; below it the mean cosine of two rows is above 0.99."""


class Alarms:
    """Reports each kind of trouble once.

    Args:
        names: Embeddings that must not collapse.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.reported: set[str] = set()

    def look(
        self, z: Embeddings, norm: Tensor, terms: Mapping[str, Tensor]
    ) -> tuple[list[str], list[str]]:
        """The trouble with a batch.

        Args:
            z: Its embeddings.
            norm: Norm of the gradient.
            terms: What the objective logged.

        Returns:
            All kinds of trouble, and a message for each that was not reported before.
        """
        messages = dict(
            text.split(": ", 1)
            for text in (
                _gradient(norm),
                _classes(z),
                _positives(terms),
                _temperature(terms),
                *(
                    _spread(z, name) for name in reversed(self.names)
                ),  # of several, the first is reported
            )
            if text
        )
        new = [
            f"alarm, {kind}: {text}" for kind, text in messages.items() if kind not in self.reported
        ]
        self.reported |= messages.keys()
        return list(messages), new


def _gradient(norm: Tensor) -> str:
    value = float(norm)
    if not math.isfinite(value):  # without loss scaling the run ends there
        return "gradient not finite in fp16: this update was skipped, and the scale of the loss is halved"
    return "zero gradient: nothing is learned from this batch" if value == 0 else ""


def _classes(z: Embeddings) -> str:
    if (
        z.labels is None
        or z.labels.ndim != 1
        or len(z) < 2
        or bool((z.labels != z.labels[0]).any())
    ):
        return ""
    return "one-class batch: all its rows have one label, so there is nothing to separate; raise batch_size or shuffle"


def _positives(terms: Mapping[str, Tensor]) -> str:
    share = float(terms.get("without_positive", torch.zeros(())))
    if share == 0:
        return ""
    return (
        f"anchors without a positive: {share:.0%} of this batch, which the loss leaves out; "
        "raise batch_size or add a second view"
    )


def _temperature(terms: Mapping[str, Tensor]) -> str:
    if not any(
        float(value) for key, value in terms.items() if key.endswith("temperature_at_bound")
    ):
        return ""
    return "temperature at its bound: it was learned down to 0.01 and goes no lower; a number may serve better"


def _spread(z: Embeddings, name: str) -> str:
    x = z.by_name.get(name)
    if x is None or len(x) < 2:
        return ""
    healthy = x.shape[1] ** -0.5
    spread = float(unit(x).std(0, correction=0).mean())
    if spread >= SPREAD * healthy:
        return ""
    return (
        f"collapse: the rows of '{name}' are nearly equal (spread {spread:.2g}, healthy is about {healthy:.2g}); "
        "lower learning_rate or bring more negatives"
    )
