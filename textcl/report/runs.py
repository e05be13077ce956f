"""The content of run folders and sweep folders, finished or not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textcl.data.json_files import read_as
from textcl.errors import UserError
from textcl.sweep.stored import SweepTable
from textcl.training.facts import LogLine, RunFacts, Scores
from textcl.training.run_folder import RunFolder


@dataclass(frozen=True)
class RunRecord:
    """A run as its folder has it.

    Args:
        folder: Its files.
        label: What the report calls it; no two runs of a report have the same.
        facts: What was asked of it.
        updates: Logged lines with a loss.
        evaluations: Logged lines with a dev score.
        scores: What was measured, all undefined for an unfinished run.
    """

    folder: RunFolder
    label: str
    facts: RunFacts
    updates: Sequence[LogLine]
    evaluations: Sequence[LogLine]
    scores: Scores

    @property
    def best(self) -> Path | None:
        """Its best weights so far; None before there are any."""
        return self.folder.best if self.folder.best.is_dir() else None

    @property
    def protocol(self) -> str | None:
        """Protocol of its scores; None where nothing was scored."""
        return self.facts.dev or self.scores.protocol

    @property
    def steps(self) -> int:
        """Updates done, as far as the log goes."""
        lines = [*self.updates, *self.evaluations]
        return self.scores.steps or max((line.step for line in lines), default=0)

    def series(self, key: str) -> list[tuple[float, float]]:
        """(update, value) of a number of the log, where it is defined."""
        return [
            (line.step, line.numbers[key])
            for line in self.updates
            if math.isfinite(line.numbers.get(key, math.nan))
        ]

    def dev_scores(self) -> list[tuple[float, float]]:
        """(update, dev score), with the score before training at update 0 where it is known."""
        before = self.scores.before
        start = [] if before is None else [(0.0, before)]
        return start + [(line.step, line.numbers["dev"]) for line in self.evaluations]

    def column_scores(self) -> dict[str, list[tuple[float, float]]]:
        """(update, dev score) of each label column, by its name, where there are several."""
        return {
            name: [
                (line.step, line.numbers[f"dev/{name}"])
                for line in self.evaluations
                if math.isfinite(line.numbers.get(f"dev/{name}", math.nan))
            ]
            for name in self.facts.common.label_columns
        }


@dataclass(frozen=True)
class SweepRecord:
    """A sweep.

    Args:
        label: Name of its folder.
        content: What the page reads of its file.
    """

    label: str
    content: SweepTable


def open_all(paths: Sequence[Path]) -> tuple[list[RunRecord], list[SweepRecord]]:
    """The runs and sweeps in these folders, in the order given.

    Raises:
        UserError: If a folder is neither, comes twice, or its files cannot be read.
    """
    places = [path.expanduser().resolve() for path in paths]
    if len(set(places)) < len(places):
        twice = next(
            path for path, place in zip(paths, places, strict=True) if places.count(place) > 1
        )
        raise UserError(f"the run {twice} is given twice: name each once")
    labels = _labels(places)
    runs: list[RunRecord] = []
    sweeps: list[SweepRecord] = []
    for path, label in zip(paths, labels, strict=True):
        if (path / "sweep.json").exists():
            sweeps.append(SweepRecord(label, read_as(path / "sweep.json", SweepTable)))
        else:
            runs.append(open_run(path, label))
    return runs, sweeps


def open_run(path: Path, label: str | None = None) -> RunRecord:
    """The run in a folder.

    Raises:
        UserError: If there is none, or its files cannot be read.
    """
    if not path.is_dir():
        raise UserError(
            f"there is no run in {path}: name the folder that textcl train --output wrote"
        )
    if not (path / "settings.json").exists() and (path.parent / "settings.json").exists():
        raise UserError(f"{path} is a part of the run {path.parent}: name that folder")
    folder = RunFolder.open(path)
    facts, scores, lines = folder.facts, folder.scores(), folder.log_lines()
    return RunRecord(
        folder,
        label or path.resolve().name,
        facts,
        [line for line in lines if "loss" in line.numbers],
        [line for line in lines if math.isfinite(line.numbers.get("dev", math.nan))],
        scores,
    )


def _labels(places: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    for parts in range(1, 9):
        labels = ["/".join(place.parts[-parts:]) for place in places]
        if len(set(labels)) == len(labels):
            return labels
    return [str(place) for place in places]
