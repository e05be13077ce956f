"""Results of the runs of a sweep as a table: means, deviations and paired tests."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from textcl.sweep.plan import Cell
from textcl.training.facts import Scores


@dataclass(frozen=True)
class Result:
    """What became of a cell.

    Args:
        cell: The run.
        status: Whether it came to its end.
        score: The number that is compared.
        scores: What it measured on dev.
        seconds: Wall time of its process, the last attempt only.
        error: Last line it said, if it failed.
        probes: Numbers by the data they were taken on.
    """

    cell: Cell
    status: Literal["finished", "failed", "waiting"] = "waiting"
    score: float | None = None
    scores: Scores = field(default_factory=Scores)
    seconds: float | None = None
    error: str | None = None
    probes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])

    def to_dict(self) -> dict[str, Any]:
        """A plain mapping."""
        cell = self.cell
        named = {"name": cell.name, "recipe": cell.recipe, "settings": dict(cell.settings)}
        rest = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("cell", "scores")
        }
        return {**named, "seed": cell.seed, "scores": self.scores.to_json(), **rest}


def table(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Every recipe and setting with its scores by seed, their mean and standard deviation.

    Probed numbers are averaged in the same way. A row's `failed` counts the runs that gave no score.
    """
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.cell.group, []).append(result)
    rows: list[dict[str, Any]] = []
    for group, mine in groups.items():
        scores = {r.cell.seed: r.score for r in mine if r.score is not None}
        rows.append(
            {
                "group": group,
                "recipe": mine[0].cell.recipe,
                "settings": dict(mine[0].cell.settings),
                "scores": {str(seed): score for seed, score in scores.items()},
                **mean_and_sd(list(scores.values())),
                "failed": sum(r.status == "failed" for r in mine),
                "waiting": sum(r.status == "waiting" for r in mine),
                "probes": _averaged([r.probes for r in mine if r.probes]),
            }
        )
    return rows


def mean_and_sd(values: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation (divisor n - 1) and number of values; None where they are undefined."""
    return {
        "mean": statistics.mean(values) if values else None,
        "sd": statistics.stdev(values) if len(values) > 1 else None,
        "n": len(values),
    }


def _averaged(probes: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for data in dict.fromkeys(name for probe in probes for name in probe):
        given = [probe[data] for probe in probes if data in probe]
        keys = dict.fromkeys(key for numbers in given for key in numbers)
        found[data] = {
            key: mean_and_sd([n[key] for n in given if isinstance(n.get(key), int | float)])
            for key in keys
        }
    return found
