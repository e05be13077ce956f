"""The dev set: graded pairs that select the weights of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from textcl.encoder.encoder import Encoder
from textcl.encoder.shared import SharedEncoder
from textcl.errors import RunError, UserError
from textcl.evaluation.benchmarks import EncodeWith, evaluate, protocol_line
from textcl.evaluation.own_pairs import own_pairs
from textcl.evaluation.tasks import StsTask, load_task
from textcl.terminal import counted


@runtime_checkable
class Dev(Protocol):
    """Scores what is trained; higher is better."""

    @property
    def protocol(self) -> str:
        """Protocol of the score."""
        ...

    @property
    def note(self) -> str:
        """A remark on the data, "" without."""
        ...

    @property
    def size(self) -> str:
        """Size of the data, with its unit."""
        ...

    @property
    def texts(self) -> Sequence[str]:
        """The texts that the model reads for it."""
        ...

    def __call__(self, model: Any) -> float:
        """The score."""
        ...


@runtime_checkable
class ColumnScores(Protocol):
    """A dev set with several label columns, whose score is the mean of theirs."""

    def scores(self, model: Any) -> Mapping[str, float]:
        """The score of each column."""
        ...


@dataclass(frozen=True)
class DevPairs:
    """Graded pairs that select weights.

    Args:
        task: The pairs.
    """

    task: StsTask

    @property
    def protocol(self) -> str:
        """Protocol of the score."""
        label = self.task.manifest.label if self.task.manifest else self.task.name
        return f"{label}, {protocol_line(self.task.protocol('all'), 'all')}, float32"

    @property
    def note(self) -> str:
        """A remark on these pairs, "" without."""
        return self.task.manifest.note if self.task.manifest else ""

    @property
    def size(self) -> str:
        """Size of the data."""
        return counted(len(self.task.scores), "pair")

    @property
    def texts(self) -> Sequence[str]:
        """Every sentence once."""
        return self.task.distinct()

    def __call__(self, model: Encoder | SharedEncoder) -> float:
        """Spearman × 100, encoded in float32 so that the number is the one `textcl eval` gives."""
        score = evaluate(EncodeWith(model, precision="float32"), self.task)[self.task.name]
        if score is None:
            raise RunError(
                f"the dev score on {self.task.name} is undefined: all cosines or all gold scores are equal"
            )
        return score


def load_dev(name: str) -> DevPairs:
    """Graded pairs by the name of a task, or from a file with `sentence1`, `sentence2` and `score`.

    Raises:
        UserError: If there is no such task or file, or something is wrong in it.
    """
    if not Path(name).exists():
        if Path(name).suffix:
            share = (
                "; a share of the rows is held out for classifiers only" if _is_number(name) else ""
            )
            raise UserError(
                f"--dev {name}: there is no such file; name one with sentence1, sentence2 and score, or a task{share}"
            )
        return DevPairs(load_task(name))
    return DevPairs(own_pairs(name))


def held_out_share(dev: str) -> float | None:
    """The share of the training rows that `dev` asks to hold out; None if it names a file.

    Raises:
        UserError: If it is a number, but none between 0 and 1.
    """
    try:
        share = float(dev)
    except ValueError:
        return None
    if not 0 < share < 1:
        raise UserError(f"--dev {dev}: a share of the training rows lies between 0 and 1")
    return share


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
