"""Figures of a space: its spectrum, where models stand between uniformity and what they lose for it, and maps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from textcl.figures.charts import Chart, Record, altair, titled
from textcl.figures.curves import legend

LABELS = 8
"""Most colours of a map; where there are more labels, the rarer ones share the last."""

OTHER = "other labels"


def spectrum(models: Mapping[str, Sequence[float]], subtitle: str | None = None) -> Chart:
    """Share of variance by direction, strongest first, on two logarithmic axes.

    Args:
        models: Shares, highest first, by the name of the model.
        subtitle: What the vectors are of.
    """
    alt = altair()
    rows = [
        {"model": name, "rank": rank, "share": float(f"{share:.3g}")}
        for name, shares in models.items()
        for rank, share in enumerate(shares, 1)
        if share > 1e-5 and _kept(rank)
    ]
    near = alt.selection_point(
        name="near", on="pointerover", nearest=True, empty=False, encodings=["x"]
    )
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X(
            "rank:Q",
            title="direction, strongest first",
            scale=alt.Scale(type="log", nice=False),
            axis=alt.Axis(grid=False, tickCount=5),
        ),
        y=alt.Y(
            "share:Q",
            title="share of variance",
            scale=alt.Scale(type="log", nice=False),
            axis=alt.Axis(format=".3~%", tickCount=5),
        ),
        color=alt.Color("model:N", sort=list(models), title=None, legend=legend(list(models))),
    )
    points = base.mark_point(size=60).encode(
        opacity=alt.condition(near, alt.value(1.0), alt.value(0.0)),
        tooltip=[
            alt.Tooltip("model:N", title="model"),
            alt.Tooltip("rank:Q", title="direction"),
            alt.Tooltip("share:Q", title="share of variance", format=".2%"),
        ],
    )
    chart = alt.layer(base.mark_line(), points.add_params(near))
    words = "; ".join(
        f"{name}: strongest direction {shares[0]:.1%}" for name, shares in models.items() if shares
    )
    return titled(
        chart.properties(width="container", height=280), "Spectrum of the space", words, subtitle
    )


def plane(
    rows: Sequence[Record],
    *,
    x: str,
    y: str,
    title: str,
    subtitle: str | None = None,
    path: str | None = None,
    color: str = "name",
    label: str = "name",
    height: int = 280,
) -> Chart:
    """Models as points between two numbers.

    Args:
        rows: For each point the numbers `x` and `y`, the texts `name` (of the point) and what `color` and `path` name,
            and `order` along the path.
        x: Field of the horizontal number, and its name.
        y: Field of the vertical number, and its name.
        title: Of the figure.
        subtitle: How to read it.
        path: Field of what a line connects in the order of `order`.
        color: Field of the colours.
        label: Field that stands beside every point; "" for none.
        height: Of the plot, in pixels.
    """
    alt = altair()
    base = alt.Chart(alt.Data(values=list(rows))).encode(
        x=alt.X(f"{x}:Q", title=x, scale=alt.Scale(zero=False, padding=36)),
        y=alt.Y(f"{y}:Q", title=y, scale=alt.Scale(zero=False, padding=18)),
    )
    names = list(dict.fromkeys(str(row[color]) for row in rows))
    shown = alt.Color(f"{color}:N", title=None, sort=names, legend=legend(names))
    layers: list[Chart] = []
    if path:
        layers.append(
            base.mark_line(opacity=0.6).encode(
                detail=f"{path}:N", order="order:Q", color=alt.Color(f"{color}:N", legend=None)
            )
            if path != color
            else base.mark_line(opacity=0.6).encode(color=shown, order="order:Q")
        )
    others = [key for key in rows[0] if key not in (x, y, "name", "order", "label")]
    layers.append(
        base.mark_point(size=90).encode(
            color=shown,
            tooltip=[
                alt.Tooltip("name:N", title="name"),
                alt.Tooltip(f"{x}:Q", format=".4~g"),
                alt.Tooltip(f"{y}:Q", format=".4~g"),
                *(alt.Tooltip(f"{key}") for key in _typed(rows, others)),
            ],
        )
    )
    if label:
        layers.append(base.mark_text(dy=-12, fontSize=11, limit=140).encode(text=f"{label}:N"))
    words = "; ".join(
        f"{row['name']}: {x} {format(row[x], '.3g')}, {y} {format(row[y], '.3g')}"
        for row in rows[:12]
    )
    chart = alt.layer(*layers).properties(width="container", height=height)
    return titled(chart, title, words, subtitle)


def embedding_map(
    rows: Sequence[Record], title: str, subtitle: str | None = None, height: int = 380
) -> Chart:
    """Texts as points of a plane; the text shows under the pointer, a click in the legend picks a label.

    Args:
        rows: `x`, `y`, `text`, and maybe `label` and `predicted`.
        title: Of the figure.
        subtitle: How the plane was made.
        height: Of the plot, in pixels.
    """
    alt = altair()
    labelled = bool(rows) and "label" in rows[0]
    shown, domain = list(rows), groups([str(row["label"]) for row in rows]) if labelled else []
    if labelled:
        shown = [
            {**row, "group": row["label"] if row["label"] in domain else OTHER} for row in shown
        ]
    chart = (
        alt.Chart(alt.Data(values=shown))
        .mark_point(size=34 if len(rows) > 300 else 64, filled=True, opacity=0.75)
        .encode(
            x=alt.X("x:Q", axis=None, scale=alt.Scale(nice=False, zero=False, padding=8)),
            y=alt.Y("y:Q", axis=None, scale=alt.Scale(nice=False, zero=False, padding=8)),
            tooltip=[
                alt.Tooltip(f"{key}:N", title=key)
                for key in ("text", "label", "predicted")
                if rows and key in rows[0]
            ],
        )
    )
    if labelled:
        names = alt.Legend(columns=4, labelLimit=110) if len(domain) > 4 else alt.Legend()
        picked = alt.selection_point(name="picked", fields=["group"], bind="legend")
        chart = chart.encode(
            color=alt.Color("group:N", title=None, scale=alt.Scale(domain=domain), legend=names),
            shape=alt.Shape("group:N", title=None, scale=alt.Scale(domain=domain), legend=names),
            opacity=alt.condition(picked, alt.value(0.85), alt.value(0.06)),
        ).add_params(picked)
    words = f"{len(rows):,} texts as points of a plane{f' ({subtitle})' if subtitle else ''}"
    if labelled:
        words += f", coloured by {len({row['label'] for row in rows})} labels"
    return titled(chart.properties(width="container", height=height), title, words, subtitle)


def groups(labels: Sequence[str]) -> list[str]:
    """Labels that get a colour of their own, most frequent first, with `OTHER` last where not all do."""
    names = [name for name, _ in Counter(labels).most_common()]
    return names if len(names) <= LABELS else [*names[: LABELS - 1], OTHER]


def _kept(rank: int) -> bool:
    """Whether a direction is drawn: all of the first 20, then ever fewer, evenly on a logarithmic axis."""
    return rank <= 20 or rank % (rank // 10) == 0


def _typed(rows: Sequence[Record], keys: Sequence[str]) -> list[str]:
    return [f"{key}:{'Q' if isinstance(rows[0][key], int | float) else 'N'}" for key in keys]
