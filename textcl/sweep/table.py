"""Results of the runs of a sweep as a table: means, deviations and paired tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Literal

from textcl.evaluation.significance import Spread
from textcl.probe.numbers import SpaceNumbers
from textcl.sweep.plan import Cell
from textcl.training.facts import Scores

Probes = Mapping[str, SpaceNumbers]
"""Numbers of a model's space by the data they were taken on."""


@dataclass(frozen=True)
class Result:
    """Outcome of a cell.

    Args:
        cell: The run.
        status: Whether it came to its end.
        score: The number that is compared.
        scores: What it measured on dev.
        seconds: Wall time of its process, the last attempt only.
        error: Last line of its log, if it failed.
        probes: What it was probed on after training.
    """

    cell: Cell
    status: Literal["finished", "failed", "waiting"] = "waiting"
    score: float | None = None
    scores: Scores = field(default_factory=Scores)
    seconds: float | None = None
    error: str | None = None
    probes: Probes = field(default_factory=dict[str, SpaceNumbers])


@dataclass(frozen=True, kw_only=True)
class Row(Spread):
    """The runs of a recipe at one setting: the spread of their scores, and more.

    Args:
        group: Recipe and setting in one name.
        recipe: Name of the recipe, or the file.
        settings: The settings that vary, as texts.
        scores: Scores by seed.
        failed: Runs that gave no score.
        waiting: Runs that are still to come.
        probes: Probed numbers over seeds, by data and by their name in `SpaceNumbers`.
    """

    group: str = ""
    recipe: str = ""
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    failed: int = 0
    waiting: int = 0
    probes: Mapping[str, Mapping[str, Spread]] = field(
        default_factory=dict[str, Mapping[str, Spread]]
    )

    def probed(self, data: str, number: str) -> Spread:
        """A probed number over seeds; undefined where it was not measured."""
        return self.probes.get(data, {}).get(number, Spread())


def table(results: Sequence[Result]) -> list[Row]:
    """Every recipe and setting with its scores by seed, their mean and standard deviation.

    Probed numbers are averaged in the same way. A row's `failed` counts the runs that gave no score.
    """
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.cell.group, []).append(result)
    rows: list[Row] = []
    for group, mine in groups.items():
        scores = {str(r.cell.seed): r.score for r in mine if r.score is not None}
        rows.append(
            Row(
                **asdict(Spread.of(list(scores.values()))),
                group=group,
                recipe=mine[0].cell.recipe,
                settings=dict(mine[0].cell.settings),
                scores=scores,
                failed=sum(r.status == "failed" for r in mine),
                waiting=sum(r.status == "waiting" for r in mine),
                probes=_averaged([r.probes for r in mine if r.probes]),
            )
        )
    return rows


def mean_and_sd(values: Sequence[float]) -> Spread:
    """Mean, standard deviation (divisor n - 1) and number of values; None where they are undefined."""
    return Spread.of(values)


def _averaged(probes: Sequence[Probes]) -> dict[str, dict[str, Spread]]:
    names = [each.name for each in fields(SpaceNumbers)]
    averaged: dict[str, dict[str, Spread]] = {}
    for data in dict.fromkeys(name for probe in probes for name in probe):
        values = [asdict(probe[data]) for probe in probes if data in probe]
        averaged[data] = {
            name: Spread.of([one[name] for one in values if one[name] is not None])
            for name in names
        }
    return averaged
