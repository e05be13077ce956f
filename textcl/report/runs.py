"""What run folders and sweep folders hold, finished or not."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textcl.errors import UserError
from textcl.training.run_folder import RunFolder


@dataclass(frozen=True)
class RunRecord:
    """A run as its folder tells it.

    Args:
        folder: Its files.
        label: What the report calls it; no two runs of a report have the same.
        facts: Content of settings.json.
        updates: Logged lines with a loss.
        evaluations: Logged lines with a dev score.
        scores: Content of scores.json, empty for an unfinished run.
    """

    folder: RunFolder
    label: str
    facts: Mapping[str, Any]
    updates: Sequence[Mapping[str, Any]]
    evaluations: Sequence[Mapping[str, Any]]
    scores: Mapping[str, Any]

    @property
    def settings(self) -> Mapping[str, Any]:
        """Its settings."""
        return self.facts["settings"]

    @property
    def finished(self) -> bool:
        """Whether it came to its end."""
        return bool(self.scores.get("finished"))

    @property
    def best(self) -> Path | None:
        """Its best weights so far; None before there are any."""
        return self.folder.best if self.folder.best.is_dir() else None

    @property
    def classifies(self) -> bool:
        """Whether it trains a classifier."""
        return "classes" in self.settings

    @property
    def steps(self) -> int:
        """Updates done, as far as the log tells."""
        lines = [*self.updates, *self.evaluations]
        return int(self.scores.get("steps") or max((line["step"] for line in lines), default=0))

    def series(self, key: str) -> list[tuple[float, float]]:
        """(update, value) of a number of the log, where it is defined."""
        return [
            (line["step"], float(line[key]))
            for line in self.updates
            if isinstance(line.get(key), int | float) and math.isfinite(line[key])
        ]

    def dev_scores(self) -> list[tuple[float, float]]:
        """(update, dev score), with the score before training at update 0 where it is known."""
        before = self.scores.get("before")
        found = [] if before is None else [(0.0, float(before))]
        return found + [(line["step"], float(line["dev"])) for line in self.evaluations]


@dataclass(frozen=True)
class SweepRecord:
    """A sweep.

    Args:
        label: Name of its folder.
        content: Content of sweep.json.
    """

    label: str
    content: Mapping[str, Any]


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
            sweeps.append(SweepRecord(label, _read(path / "sweep.json")))
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
    facts, scores = _read(path / "settings.json"), folder.path / "scores.json"
    missing = [key for key in ("settings", "data", "recipe") if key not in facts]
    if missing:
        raise UserError(f"{path / 'settings.json'} is no run's: it has no {', '.join(missing)}")
    lines = _lines(path / "metrics.jsonl")
    return RunRecord(
        folder,
        label or path.resolve().name,
        facts,
        [line for line in lines if "loss" in line],
        [line for line in lines if line.get("dev") is not None],
        _read(scores) if scores.exists() else {},
    )


def _labels(places: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    for parts in range(1, 9):
        labels = ["/".join(place.parts[-parts:]) for place in places]
        if len(set(labels)) == len(labels):
            return labels
    return [str(place) for place in places]


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): is it from textcl?") from error


def _lines(path: Path) -> list[dict[str, Any]]:
    """Lines of the log; one that a killed run left half-written at the end does not count."""
    if not path.exists():
        return []
    texts = path.read_text(encoding="utf-8", errors="replace").splitlines()
    found: list[dict[str, Any]] = []
    for number, text in enumerate(texts, 1):
        try:
            found.append(json.loads(text))
        except ValueError as error:
            if number == len(texts):
                break
            raise UserError(
                f"{path}, line {number} is no JSON ({error}): was the file edited?"
            ) from error
    return found
