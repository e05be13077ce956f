"""Figures of a sweep, out of its `sweep.json`: numbers against the setting, and the uniformity–tolerance curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textcl.figures.charts import altair, titled

PANELS = {
    "score": "score",
    "uniformity": "uniformity (lower: more even)",
    "tolerance": "tolerance (higher: classes closer)",
}


def sweep_figure(content: Mapping[str, Any]) -> Any:
    """What a sweep over one number shows: score, uniformity and tolerance against it, and against one another.

    Args:
        content: Content of sweep.json.

    Returns:
        An Altair chart; None where not exactly one setting with at least two numbers varies.

    Source: the curves of Wang & Liu 2021, section 4, https://arxiv.org/abs/2012.09740
    """
    rows, setting = points(content)
    if not rows:
        return None
    alt = altair()
    panels = [
        _panel(alt, rows, setting, key)
        for key in PANELS
        if any(row[key] is not None for row in rows)
    ]
    figure = alt.hconcat(*panels)
    if all(any(row[key] is not None for row in rows) for key in ("uniformity", "tolerance")):
        figure = alt.vconcat(figure, _curve(alt, rows, setting)).resolve_scale(color="shared")
    seeds = len(content["plan"]["seeds"])
    told = "; ".join(
        f"{recipe}: best score {best['score']:.2f} at {setting} {best[setting]:g}"
        for recipe, best in _best(rows).items()
    )
    return titled(
        figure,
        f"What {setting} does",
        f"Score, uniformity and tolerance against {setting}, and tolerance against uniformity. {told}.",
        ("one seed" if seeds == 1 else f"means over {seeds} seeds, bars one standard deviation")
        + "; below, larger circles score higher",
    )


def points(content: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """A row for each recipe and value of the one setting that varies, and its name; no rows where it is not one."""
    table = content["table"]
    names = list(dict.fromkeys(key for row in table for key in row["settings"]))
    if len(names) != 1 or not all(_is_number(row["settings"].get(names[0])) for row in table):
        return [], ""
    (setting,) = names
    rows: list[dict[str, Any]] = []
    for row in table:
        numbers = {"score": {"mean": row["mean"], "sd": row["sd"]}, **_probed(row)}
        found: dict[str, Any] = {"recipe": row["recipe"], setting: float(row["settings"][setting])}
        for key in PANELS:
            mean, sd = numbers.get(key, {}).get("mean"), numbers.get(key, {}).get("sd")
            found[key] = mean
            spread = sd or 0.0
            found[f"{key}_low"] = None if mean is None else mean - spread
            found[f"{key}_high"] = None if mean is None else mean + spread
        rows.append(found)
    values = {row[setting] for row in rows}
    return (rows, setting) if len(values) > 1 else ([], "")


def _probed(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Numbers of the first labelled data, where uniformity and tolerance are of the same texts; else of the first."""
    probes: Sequence[Mapping[str, Any]] = list(row["probes"].values())
    labelled = [numbers for numbers in probes if numbers["tolerance"]["n"]]
    return next(iter([*labelled, *probes]), {})


def _panel(alt: Any, rows: list[dict[str, Any]], setting: str, key: str) -> Any:
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=_axis(alt, rows, setting), color=_colour(alt, rows)
    )
    value = alt.Y(f"{key}:Q", title=PANELS[key], scale=alt.Scale(zero=False))
    told = ["recipe:N", f"{setting}:Q", alt.Tooltip(f"{key}:Q", format=".3f")]
    line = base.mark_line(point=True).encode(y=value, tooltip=told)
    low, high = alt.Y(f"{key}_low:Q", title=PANELS[key]), f"{key}_high:Q"
    bars = base.mark_rule().encode(y=low, y2=high)
    return (bars + line).properties(width=200, height=200)


def _curve(alt: Any, rows: list[dict[str, Any]], setting: str) -> Any:
    padded = alt.Scale(zero=False, padding=24)
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("uniformity:Q", title=PANELS["uniformity"], scale=padded),
        y=alt.Y("tolerance:Q", title=PANELS["tolerance"], scale=padded),
        color=_colour(alt, rows),
    )
    line = base.mark_line().encode(order=f"{setting}:Q")
    size = alt.Size("score:Q", scale=alt.Scale(zero=False, range=[20, 260]), legend=None)
    told = ["recipe:N", f"{setting}:Q", alt.Tooltip("score:Q", format=".2f")]
    dots = base.mark_circle(opacity=1).encode(size=size, tooltip=told)
    layers = [line, dots]
    for place, recipe in enumerate(dict.fromkeys(row["recipe"] for row in rows)):
        above = place % 2 == 0  # labels of two recipes keep out of each other's way
        words = base.mark_text(
            dx=-6 if above else 6, dy=-12 if above else 14, align="right" if above else "left"
        )
        mine = alt.datum.recipe == recipe
        layers.append(
            words.transform_filter(mine).encode(text=alt.Text(f"{setting}:Q", format="~g"))
        )
    return alt.layer(*layers).properties(width=700, height=260)


def _colour(alt: Any, rows: list[dict[str, Any]]) -> Any:
    recipes = list(dict.fromkeys(row["recipe"] for row in rows))
    return alt.Color("recipe:N", title=None, sort=recipes)


def _axis(alt: Any, rows: list[dict[str, Any]], setting: str) -> Any:
    values = sorted({row[setting] for row in rows})
    wide = values[0] > 0 and values[-1] / values[0] >= 10
    scale = alt.Scale(type="log", nice=False, padding=8) if wide else alt.Scale(zero=False)
    return alt.X(f"{setting}:Q", scale=scale, axis=alt.Axis(values=values, format="~g"))


def _best(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        best = found.get(row["recipe"])
        if row["score"] is not None and (best is None or row["score"] > best["score"]):
            found[row["recipe"]] = row
    return found


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and bool(float(text) or True)
    except ValueError:
        return False
