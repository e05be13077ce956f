"""Figures of mined negatives: their scores beside those of the positives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from textcl.figures.charts import Chart, altair, titled
from textcl.figures.curves import legend

BINS = 40


def score_distributions(
    groups: Mapping[str, Sequence[float]], title: str, subtitle: str | None = None
) -> Chart:
    """Shares of several groups of scores by bin, one step line each.

    Args:
        groups: Scores by the name of the group; an empty group is left out.
        title: Of the figure.
        subtitle: How to read it.

    Returns:
        An Altair chart as wide as its place.
    """
    alt = altair()
    filled = {name: np.asarray(scores, float) for name, scores in groups.items() if len(scores)}
    joined = np.concatenate([*filled.values()]) if filled else np.zeros(1)
    low, high = float(joined.min()), float(joined.max())
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    rows = [
        {"group": name, "score": round(float(left), 4), "share": round(float(share), 5)}
        for name, scores in filled.items()
        for left, share in zip(
            edges[:-1], np.histogram(scores, edges)[0] / len(scores), strict=True
        )
    ]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_area(interpolate="step-after", line=True, fillOpacity=0.2)
        .encode(
            x=alt.X("score:Q", title="score", scale=alt.Scale(zero=False, nice=False)),
            y=alt.Y("share:Q", title="share of the group", stack=None, axis=alt.Axis(format="%")),
            color=alt.Color("group:N", sort=list(filled), title=None, legend=legend(list(filled))),
            tooltip=["group:N", "score:Q", alt.Tooltip("share:Q", format=".1%")],
        )
        .properties(width="container", height=240)
    )
    means = ", ".join(f"{name} {scores.mean():.3f}" for name, scores in filled.items())
    return titled(chart, title, f"Mean scores: {means or 'none'}", subtitle)
