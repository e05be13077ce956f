"""Figures of a sweep over one number: scores against the setting, and the uniformity–tolerance curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from textcl.evaluation.significance import Spread
from textcl.figures.charts import Chart, Record, altair, titled

PANELS = {
    "score": "score",
    "uniformity": "uniformity (lower: more even)",
    "tolerance": "tolerance (higher: classes closer)",
}


@dataclass(frozen=True)
class Point:
    """The runs of a recipe at one value of the setting.

    Args:
        recipe: Its name.
        value: Of the setting.
        score: Over seeds.
        uniformity: Over seeds.
        tolerance: Over seeds.
    """

    recipe: str
    value: float
    score: Spread
    uniformity: Spread
    tolerance: Spread


@dataclass(frozen=True)
class Curve:
    """Measurements of a sweep over one number.

    Args:
        setting: Name of the setting.
        points: Recipe by recipe.
    """

    setting: str
    points: Sequence[Point]

    @property
    def recipes(self) -> list[str]:
        """Recipes in the order of the points."""
        return list(dict.fromkeys(point.recipe for point in self.points))

    def means(self, panel: str, recipe: str) -> list[tuple[float, float]]:
        """(value, mean) of a recipe's points, where the mean is defined.

        Args:
            panel: One of `PANELS`.
            recipe: Its name.
        """
        return [
            (point.value, mean)
            for point in self.points
            if point.recipe == recipe and (mean := _spreads(point)[panel].mean) is not None
        ]

    def best(self) -> dict[str, Point]:
        """The point with the highest mean score of every recipe that has scores."""
        best: dict[str, Point] = {}
        for point in self.points:
            if point.score.mean is not None:
                other = best.get(point.recipe)
                if other is None or point.score.mean > (other.score.mean or 0.0):
                    best[point.recipe] = point
        return best


def sweep_figure(curve: Curve, seeds: int) -> Chart:
    """Figures of a sweep over one number: score, uniformity and tolerance against it and against each other.

    Args:
        curve: The points, as `textcl.sweep.curve.curve_of` reads them from a table.
        seeds: Seeds of every point.

    Returns:
        An Altair chart.

    Source: the curves of Wang & Liu 2021, section 4, https://arxiv.org/abs/2012.09740
    """
    alt, setting = altair(), curve.setting
    shown = [panel for panel in PANELS if any(_spreads(p)[panel].n for p in curve.points)]
    figure = alt.hconcat(*(_panel(alt, curve, panel) for panel in shown))
    if {"uniformity", "tolerance"} <= {*shown}:
        figure = alt.vconcat(figure, _plane(alt, curve)).resolve_scale(color="shared")
    best = "; ".join(
        f"{recipe}: best score {point.score.mean:.2f} at {setting} {point.value:g}"
        for recipe, point in curve.best().items()
    )
    return titled(
        figure,
        f"What {setting} does",
        f"Score, uniformity and tolerance against {setting}, and tolerance against uniformity. {best}.",
        ("one seed" if seeds == 1 else f"means over {seeds} seeds, bars one standard deviation")
        + "; below, larger circles score higher",
    )


def _spreads(point: Point) -> dict[str, Spread]:
    return {"score": point.score, "uniformity": point.uniformity, "tolerance": point.tolerance}


def records(curve: Curve) -> list[Record]:
    """The points with mean, lower and upper end of every panel, one standard deviation apart."""
    rows: list[Record] = []
    for point in curve.points:
        row: dict[str, str | float | None] = {"recipe": point.recipe, curve.setting: point.value}
        for panel, spread in _spreads(point).items():
            mean, sd = spread.mean, spread.sd or 0.0
            row[panel] = mean
            row[f"{panel}_low"] = None if mean is None else mean - sd
            row[f"{panel}_high"] = None if mean is None else mean + sd
        rows.append(row)
    return rows


def _panel(alt: ModuleType, curve: Curve, panel: str) -> Chart:
    base = alt.Chart(alt.Data(values=records(curve))).encode(
        x=_axis(alt, curve), color=_colour(alt, curve)
    )
    value = alt.Y(f"{panel}:Q", title=PANELS[panel], scale=alt.Scale(zero=False))
    tooltip = ["recipe:N", f"{curve.setting}:Q", alt.Tooltip(f"{panel}:Q", format=".3f")]
    line = base.mark_line(point=True).encode(y=value, tooltip=tooltip)
    low, high = alt.Y(f"{panel}_low:Q", title=PANELS[panel]), f"{panel}_high:Q"
    bars = base.mark_rule().encode(y=low, y2=high)
    return (bars + line).properties(width=200, height=200)


def _plane(alt: ModuleType, curve: Curve) -> Chart:
    padded = alt.Scale(zero=False, padding=24)
    base = alt.Chart(alt.Data(values=records(curve))).encode(
        x=alt.X("uniformity:Q", title=PANELS["uniformity"], scale=padded),
        y=alt.Y("tolerance:Q", title=PANELS["tolerance"], scale=padded),
        color=_colour(alt, curve),
    )
    line = base.mark_line().encode(order=f"{curve.setting}:Q")
    size = alt.Size("score:Q", scale=alt.Scale(zero=False, range=[20, 260]), legend=None)
    tooltip = ["recipe:N", f"{curve.setting}:Q", alt.Tooltip("score:Q", format=".2f")]
    layers = [line, base.mark_circle(opacity=1).encode(size=size, tooltip=tooltip)]
    for place, recipe in enumerate(curve.recipes):
        above = place % 2 == 0  # labels of two recipes keep out of each other's way
        words = base.mark_text(
            dx=-6 if above else 6, dy=-12 if above else 14, align="right" if above else "left"
        )
        mine = alt.datum.recipe == recipe
        layers.append(
            words.transform_filter(mine).encode(text=alt.Text(f"{curve.setting}:Q", format="~g"))
        )
    return alt.layer(*layers).properties(width=700, height=260)


def _colour(alt: ModuleType, curve: Curve) -> object:
    return alt.Color("recipe:N", title=None, sort=curve.recipes)


def _axis(alt: ModuleType, curve: Curve) -> object:
    values = sorted({point.value for point in curve.points})
    wide = values[0] > 0 and values[-1] / values[0] >= 10
    scale = alt.Scale(type="log", nice=False, padding=8) if wide else alt.Scale(zero=False)
    return alt.X(f"{curve.setting}:Q", scale=scale, axis=alt.Axis(values=values, format="~g"))
