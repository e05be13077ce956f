"""Reading `sweep.json`: every value is checked, and no file that it names is executed.

A sweep folder is data that people pass around, as a run folder is: its recipes are found by name, and the file of a
recipe of one's own is named again by the user and compared by its hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from textcl.data.json_files import read_as
from textcl.errors import UserError
from textcl.probe.numbers import SpaceNumbers
from textcl.sweep.comparison import Comparison
from textcl.sweep.plan import FORMAT, Cell, Plan, option_values
from textcl.sweep.table import Probes, Result, Row
from textcl.training import recipes
from textcl.training.facts import Scores

FILE = "sweep.json"


@dataclass(frozen=True)
class StoredCell:
    """A run, as the file has it; see `Cell` and `Result`."""

    name: str
    recipe: str
    settings: Mapping[str, str]
    seed: int
    status: Literal["finished", "failed", "waiting"]
    score: float | None = None
    scores: Scores = field(default_factory=Scores)
    seconds: float | None = None
    error: str | None = None
    probes: Probes = field(default_factory=dict[str, SpaceNumbers])

    @classmethod
    def of(cls, result: Result) -> StoredCell:
        """The run as the file has it."""
        cell = result.cell
        return cls(
            cell.name, cell.recipe, cell.settings, cell.seed, result.status, result.score,
            result.scores, result.seconds, result.error, result.probes,
        )  # fmt: skip

    def result(self) -> Result:
        """Outcome of the run."""
        return Result(
            Cell(self.recipe, self.settings, self.seed), self.status, self.score, self.scores,
            self.seconds, self.error, self.probes,
        )  # fmt: skip


@dataclass(frozen=True)
class StoredSweep:
    """The content of sweep.json.

    Args:
        plan: What is run.
        cells: What became of every run so far.
        before: Probes of what the runs started from, by recipe.
        trials: Settings that a search has proposed.
        table: Scores of every recipe and setting.
        tests: Paired tests between rows of the table.
        note: What the compared scores are.
        versions: Versions of the libraries that decide a number.
        kind: What the file is.
        format: Version of the layout.
    """

    plan: Plan
    cells: Sequence[StoredCell]
    before: Mapping[str, Probes] = field(default_factory=dict[str, Probes])
    trials: Sequence[Mapping[str, str]] = ()
    table: Sequence[Row] = ()
    tests: Sequence[Comparison] = ()
    note: str = ""
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    kind: Literal["textcl-sweep"] = "textcl-sweep"
    format: int = FORMAT

    @classmethod
    def read(cls, path: Path) -> StoredSweep:
        """The sweep in a folder.

        Raises:
            UserError: If there is none, or its file was damaged or changed by hand; names the place.
        """
        file = path / FILE
        if not file.exists():
            raise UserError(f"{path} is no sweep: it has no {FILE}")
        stored = read_as(file, cls)
        _check_options(stored.plan.options, file)
        planned = {cell.name for cell in stored.plan.cells()}
        for at, cell in enumerate(stored.cells):
            known = cell.recipe in stored.plan.recipes and cell.seed in stored.plan.seeds
            if not known or not (stored.plan.trials or cell.result().cell.name in planned):
                raise UserError(
                    f"{file}: cells[{at}] is no run of the plan in the same file: was it edited by hand?"
                )
        return stored

    def with_files(self, given: Sequence[str], path: Path) -> StoredSweep:
        """The sweep with the files of its recipes as the user names them now.

        Args:
            given: The files.
            path: The sweep, for the messages.

        Raises:
            UserError: If a recipe of the sweep is a file that is not given, is another than then, or none is needed.
        """
        files = [name for name in self.plan.recipes if name.endswith(".py")]
        if not files:
            if given:
                raise UserError(f"the sweep in {path} has no recipe file: leave --recipe out")
            return self
        now = {name: _given(name, given, path) for name in files}
        for name, file in now.items():
            recipes.check_hash(file, self.plan.sha256.get(name), f"the sweep in {path}")
        return replace(
            self,
            plan=self.plan.renamed(now),
            cells=[replace(cell, recipe=now.get(cell.recipe, cell.recipe)) for cell in self.cells],
            before={now.get(name, name): probes for name, probes in self.before.items()},
            trials=[
                {
                    key: now.get(value, value) if key == "recipe" else value
                    for key, value in trial.items()
                }
                for trial in self.trials
            ],
        )


@dataclass(frozen=True)
class Named:
    """The name of a run and what became of it."""

    name: str
    status: str


@dataclass(frozen=True)
class Seeds:
    """The part of a plan that a picture names."""

    seeds: Sequence[int] = ()


@dataclass(frozen=True)
class SweepTable:
    """Table of a sweep, as a page and a picture read it from its file."""

    table: Sequence[Row] = ()
    cells: Sequence[Named] = ()
    plan: Seeds = Seeds()
    note: str = ""


def _check_options(options: Sequence[str], file: Path) -> None:
    """Only what `textcl sweep` itself hands to its runs: nothing that replaces a folder or names a recipe."""
    try:
        list(option_values(options))
    except ValueError as error:
        raise UserError(
            f"{file}: plan: options: {error} is no option that a sweep gives to its runs: was it edited by hand?"
        ) from None


def _given(name: str, given: Sequence[str], path: Path) -> str:
    for file in given:
        if Path(file).name == Path(name).name:
            return file
    raise UserError(
        f"the sweep in {path} runs a recipe file of its own ({Path(name).name}), and files that a sweep folder names "
        f"are not executed: name it yourself with textcl sweep --resume {path} --recipe FILE.py"
    )
