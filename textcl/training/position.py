"""The position of a run: written by the loop alone, and whole in every checkpoint."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class DevScore:
    """A score on dev.

    Args:
        value: What selects the weights; higher is better.
        columns: Of each label column, where there are several: `value` is their mean.
    """

    value: float
    columns: Mapping[str, float] = field(default_factory=dict[str, float])

    def to_json(self) -> dict[str, float]:
        """What a line of the log has: "dev", and "dev/NAME" of each column."""
        return {"dev": self.value} | {f"dev/{name}": score for name, score in self.columns.items()}


def listed(scores: Mapping[str, float]) -> str:
    """Scores of columns in one line."""
    return ", ".join(f"{name} {score:.2f}" for name, score in scores.items())


@dataclass
class Position:
    """The position of a run.

    Args:
        step: Updates done.
        total: Updates of the whole run; early stopping lowers it.
        epoch: Passes over the data begun, from 0.
        index: Batches of this epoch done.
        before: Dev score before training.
        best: Best dev score after some update, or of the start where that may be kept.
        best_step: Its update.
        stale: Evaluations since.
        last: Last dev score.
        seconds: Training time, evaluation left out.
        logged: Bytes of metrics.jsonl.
        columns: The best score of each label column, where there are several: `best` is their mean.
    """

    step: int = 0
    total: int = 0
    epoch: int = 0
    index: int = 0
    before: float | None = None
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    last: float | None = None
    seconds: float = 0.0
    logged: int = 0
    columns: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def done(self) -> bool:
        """Whether no update is left."""
        return self.step >= self.total

    def scored(self, dev: DevScore) -> bool:
        """Take a dev score in, and tell whether it is the best so far.

        An update takes the place of an equal start: what was trained knows more than few dev rows can show.
        """
        score = dev.value
        best = self.best is None or score > self.best or (score == self.best and not self.best_step)
        self.last, self.stale = score, 0 if best else self.stale + 1
        if best:
            self.best, self.best_step, self.columns = score, self.step, dev.columns
        return best


class Stopwatch:
    """Measures the time between two looks at it."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last look."""
        before, self._last = self._last, time.perf_counter()
        return self._last - before
