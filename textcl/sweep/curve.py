"""The curve that a sweep over one number draws: its table as points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textcl.evaluation.significance import Spread
from textcl.figures.sweeps import Curve, Point
from textcl.sweep.table import Row


def curve_of(table: Sequence[Row]) -> Curve | None:
    """A point for each recipe and value of the one setting that varies; None where it is not one over numbers.

    Args:
        table: Of a sweep.
    """
    names = list(dict.fromkeys(key for row in table for key in row.settings))
    if len(names) != 1 or not all(_is_number(row.settings.get(names[0])) for row in table):
        return None
    points: list[Point] = []
    for row in table:
        probed = _probed(row)
        points.append(
            Point(
                row.recipe,
                float(row.settings[names[0]]),
                Spread(row.mean, row.sd, row.n),
                probed.get("uniformity", Spread()),
                probed.get("tolerance", Spread()),
            )
        )
    return Curve(names[0], points) if len({point.value for point in points}) > 1 else None


def _probed(row: Row) -> Mapping[str, Spread]:
    """Numbers of the first labelled data, where uniformity and tolerance are of the same texts; else of the first."""
    labelled = [numbers for data, numbers in row.probes.items() if row.probed(data, "tolerance").n]
    return next(iter([*labelled, *row.probes.values()]), {})


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and bool(float(text) or True)
    except ValueError:
        return False
