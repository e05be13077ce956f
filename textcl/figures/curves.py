"""Figures of a training run: a number by update, and how distributions move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TypedDict

from textcl.figures.charts import Chart, altair, titled

FEW = 12
"""Points of a curve up to which each is drawn; of more, the one under the pointer."""

Points = Sequence[tuple[float, float]]
"""(update, value) in the order of the updates."""


def curves(
    runs: Mapping[str, Points],
    title: str,
    value: str,
    *,
    subtitle: str | None = None,
    form: str = ".4~g",
    x: str = "update",
    height: int = 180,
) -> Chart:
    """One number of one or several runs by update; the value under the pointer is shown.

    Args:
        runs: Points by the name of the run.
        title: Of the figure.
        value: Name and unit of the number.
        subtitle: How to read it.
        form: How values are written (d3-format).
        x: What a point belongs to; axes of settings are logarithmic where the values span a factor of ten.
        height: Of the plot, in pixels.

    Returns:
        An Altair chart as wide as its place.
    """
    alt = altair()
    rows = [
        {"series": name, "step": step, "value": _short(y)}
        for name, run in runs.items()
        for step, y in run
    ]
    near = alt.selection_point(
        name="near", on="pointerover", nearest=True, empty=False, encodings=["x"]
    )
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=_axis(alt, x, [step for run in runs.values() for step, _ in run]),
        y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=_value_axis(alt, form)),
        color=alt.Color(
            "series:N",
            sort=list(runs),
            title=None,
            legend=legend(list(runs)),
        ),
    )
    few = max(map(len, runs.values()), default=0) <= FEW
    points = base.mark_point(size=30 if few else 70).encode(
        opacity=alt.condition(near, alt.value(1.0), alt.value(0.8 if few else 0.0)),
        tooltip=[
            alt.Tooltip("series:N", title="series"),
            alt.Tooltip("step:Q", title=x),
            alt.Tooltip("value:Q", title=value, format=form),
        ],
    )
    chart = alt.layer(base.mark_line(), points.add_params(near))
    words = "; ".join(_path(name, run, x) for name, run in runs.items())
    return titled(
        chart.properties(width="container", height=height), title, f"{value}: {words}", subtitle
    )


def bands(
    points: Mapping[str, Points], title: str, value: str, subtitle: str | None = None
) -> Chart:
    """Quantiles of a number by update, as nested bands around their median.

    Args:
        points: Points by quantile in %, such as "0", "25", "50", "75", "100"; symmetric around "50".
        title: Of the figure.
        value: Name and unit.
        subtitle: How to read it.
    """
    alt = altair()
    low = [quantile for quantile in points if float(quantile) < 50]
    rows = [
        {"step": step, "band": f"{q} to {100 - float(q):g} %", "low": _short(a), "high": _short(b)}
        for q in low
        for (step, a), (_, b) in zip(points[q], points[f"{100 - float(q):g}"], strict=True)
    ]
    middle = [{"step": step, "median": _short(y)} for step, y in points["50"]]
    x = alt.X("step:Q", title="update", axis=_updates(alt))
    area = (
        alt.Chart(alt.Data(values=rows))
        .mark_area(line=False, opacity=0.22)
        .encode(
            x=x,
            y=alt.Y("low:Q", title=None, scale=alt.Scale(zero=False)),
            y2="high:Q",
            detail="band:N",
            tooltip=["step:Q", "band:N", "low:Q", "high:Q"],
        )
    )
    line = alt.Chart(alt.Data(values=middle)).mark_line().encode(x=x, y="median:Q")
    chart = alt.layer(area, line).properties(width="container", height=180)
    words = f"{value}, median {_path('', points['50'], 'update').strip()}"
    return titled(chart, title, words, subtitle)


def ridges(
    rows: Sequence[tuple[str, Mapping[str, Sequence[float]]]],
    title: str,
    *,
    side: str,
    subtitle: str | None = None,
    low: float = -1.0,
    high: float = 1.0,
) -> Chart:
    """Histograms one below the other, each scaled to its own highest bin.

    Args:
        rows: From top to bottom: a label, and by the name of what was counted the counts in equal bins from `low` to
            `high`.
        title: Of the figure.
        side: What the labels are.
        subtitle: How to read it.
        low: Lower edge of the first bin.
        high: Upper edge of the last bin.

    Returns:
        An Altair chart as wide as its place.
    """
    alt = altair()
    kinds = list(dict.fromkeys(kind for _, counts in rows for kind in counts))
    values = [
        _ridge(place, label, kind, counts)
        for place, (label, by_kind) in enumerate(rows)
        for kind, counts in by_kind.items()
        if any(counts)
    ]
    width = (high - low) / max(
        1, *(len(counts) for _, by_kind in rows for counts in by_kind.values())
    )
    first = min((min(value["bin"]) for value in values), default=0)
    left = max(low, low + first * width)
    labels = "[" + ",".join(_quoted(label) for label, _ in rows) + "][-datum.value]"
    base = alt.Chart().encode(
        x=alt.X(
            "score:Q",
            title="score (cosine)",
            scale=alt.Scale(domain=[left, high], nice=False),
            axis=alt.Axis(grid=True),
        ),
        y=alt.Y(
            "top:Q",
            title=side,
            stack=None,
            scale=alt.Scale(domain=[0.15 - len(rows), 1.5], nice=False),
            axis=alt.Axis(
                values=[-place for place in range(len(rows))], labelExpr=labels, grid=True
            ),
        ),
        y2="base:Q",
        color=alt.Color("kind:N", sort=kinds, title=None, legend=legend(kinds)),
        detail="row:N",
    )
    areas = base.mark_area(
        interpolate="monotone", fillOpacity=0.45, clip=True, line={"strokeWidth": 1.5}
    )
    hover = (
        alt.Chart()
        .transform_filter("datum.share > 0")
        .mark_point(size=60, opacity=0)
        .encode(
            x="score:Q",
            y="top:Q",
            tooltip=[
                alt.Tooltip("row:N", title=side),
                alt.Tooltip("kind:N", title="of"),
                alt.Tooltip("score:Q", title="score about", format=".3f"),
                alt.Tooltip("share:Q", title="share", format=".1%"),
            ],
        )
    )
    chart = (
        alt.layer(areas, hover, data=alt.Data(values=values))
        .transform_flatten(["bin", "count"])
        .transform_calculate(
            score=f"{low} + (datum.bin + 0.5) * {width}",
            share="datum.count / datum.total",
            top="datum.base + 1.35 * datum.count / datum.most",
        )
        .properties(width="container", height=max(180, 42 * len(rows) + 50))
    )
    parts = [_moved(kind, rows, low, high) for kind in kinds]
    return titled(chart, title, ". ".join(filter(None, parts)), subtitle)


class _Ridge(TypedDict):
    """A histogram as a row of the data of a chart."""

    row: str
    kind: str
    base: int
    total: float
    most: float
    bin: list[int]
    count: list[float]


def _ridge(place: int, label: str, kind: str, counts: Sequence[float]) -> _Ridge:
    """One histogram in one row, from the bin before its first count to the bin behind its last."""
    filled = [at for at, count in enumerate(counts) if count]
    bins = list(range(max(0, filled[0] - 1), min(len(counts), filled[-1] + 2)))
    return {
        "row": label,
        "kind": kind,
        "base": -place,
        "total": sum(counts),
        "most": max(counts),
        "bin": bins,
        "count": [counts[at] for at in bins],
    }


def legend(names: Sequence[str]) -> object:
    """A legend that fits a narrow page; none for a single name."""
    if len(names) < 2:
        return None
    long = len(names) > 3 or sum(map(len, names)) > 36
    return altair().Legend(columns=2, labelLimit=140) if long else altair().Legend()


def mean_of(counts: Sequence[float], low: float = -1.0, high: float = 1.0) -> float | None:
    """Mean of what a histogram counted, each bin at its middle; None where nothing was counted."""
    total, width = sum(counts), (high - low) / max(1, len(counts))
    if not total:
        return None
    return sum(c * (low + (at + 0.5) * width) for at, c in enumerate(counts)) / total


def _moved(
    kind: str, rows: Sequence[tuple[str, Mapping[str, Sequence[float]]]], low: float, high: float
) -> str:
    """Change of the mean of a kind from the first to the last row, in words."""
    with_kind = [(label, counts[kind]) for label, counts in rows if kind in counts]
    means = [(label, mean_of(counts, low, high)) for label, counts in with_kind]
    known = [(label, mean) for label, mean in means if mean is not None]
    if not known:
        return ""
    (first, a), (last, b) = known[0], known[-1]
    if len(known) == 1:
        return f"Mean of {kind}: {a:.2f} ({first})"
    return f"Mean of {kind}: {a:.2f} ({first}), {b:.2f} ({last})"


def _path(name: str, points: Points, x: str) -> str:
    if not points:
        return f"{name} has no value"
    (first, a), (last, b) = points[0], points[-1]
    return f"{name} from {a:.4g} at {x} {first:g} to {b:.4g} at {x} {last:g}"


def _value_axis(alt: ModuleType, form: str) -> object:
    """Ticks with as many digits as tell them apart, in the kind of `form`: percent, powers of ten or plain."""
    kind = form[-1]
    return alt.Axis(format=f"~{kind}", tickCount=5) if kind in "%e" else alt.Axis(tickCount=5)


def _short(value: float) -> float:
    """Six digits, more than a figure shows."""
    return float(f"{value:.6g}")


def _updates(alt: ModuleType) -> object:
    return alt.Axis(grid=False, tickMinStep=1, tickCount=6, format="d")


def _axis(alt: ModuleType, x: str, values: Sequence[float]) -> object:
    if x == "update":
        return alt.X("step:Q", title=x, axis=_updates(alt))
    wide = min(values) > 0 and max(values) / min(values) >= 10
    scale = alt.Scale(type="log", nice=False) if wide else alt.Scale(zero=False)
    marks = alt.Axis(grid=False, values=sorted(set(values)), format="~g")
    return alt.X("step:Q", title=x, scale=scale, axis=marks)


def _quoted(text: str) -> str:
    """A text as a string of Vega's expression language."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", " ")
    return f"'{escaped}'"
