"""Figures of a classifier: which classes it takes for which, and how often its confidence comes true."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from textcl.evaluation.classification import Calibration, confused_pairs, confusion_order
from textcl.figures.charts import Chart, altair, titled

_STEPS = {8: 46, 16: 32, 40: 19}  # classes up to which a cell has so many pixels
_NUMBERS = 16  # classes up to which there is room for a number in every cell


def confusion_figure(
    confusion: Int[np.ndarray, "C C"], classes: Sequence[str], title: str, subtitle: str = ""
) -> Chart:
    """A table of true against predicted classes, shaded by the share of the true class that went wrong.

    Classes that are confused stand beside each other, the most confused pair first. The diagonal has no shade, so that
    the eye finds the mistakes.

    Args:
        confusion: Rows by true and predicted class.
        classes: Their names.
        title: What was classified.
        subtitle: Protocol and numbers.

    Returns:
        An Altair chart.
    """
    alt, order, support = altair(), confusion_order(confusion), confusion.sum(1)
    names = [classes[place] for place in order]
    cells = [
        {
            "true": classes[true],
            "predicted": classes[other],
            "rows": int(confusion[true, other]),
            "share": float(confusion[true, other] / max(1, support[true])),
            "right": true == other,
        }
        for true in order
        for other in order
    ]
    step = next((size for most, size in _STEPS.items() if len(classes) <= most), 14)
    base = alt.Chart(alt.Data(values=cells)).encode(
        x=alt.X("predicted:N", sort=names, title="predicted").axis(
            orient="top", labelAngle=-45, labelOverlap=False
        ),
        y=alt.Y("true:N", sort=names, title="true"),
        tooltip=[
            alt.Tooltip("true:N"),
            alt.Tooltip("predicted:N"),
            alt.Tooltip("rows:Q", title="texts"),
            alt.Tooltip("share:Q", title="share of the true class", format=".1%"),
        ],
    )
    worst = max((cell["share"] for cell in cells if not cell["right"]), default=0.0) or 1.0
    shade, marks = alt.Color("share:Q", title="share of the true class"), []
    if len(classes) <= _NUMBERS:
        # half the ramp, so that numbers can be read on every shade, on white and on black
        shade = shade.scale(domain=[0, 2 * worst]).legend(None)
        wrong, right = ("datum.rows > 0 && !datum.right", "datum.right")
        marks.append(base.transform_filter(wrong).mark_text().encode(text="rows:Q"))
        bold = base.transform_filter(right).mark_text(fontWeight="bold")
        marks.append(bold.encode(text="rows:Q"))
    else:
        shade = shade.scale(domain=[0, worst]).legend(format=".0%")
        marks.append(base.transform_filter("datum.right").mark_point(shape="diamond", size=14))
    shaded = base.transform_filter("!datum.right").mark_rect().encode(color=shade)
    pairs = confused_pairs(confusion, classes, 3)
    confused = "; ".join(
        f"{pair.rows} texts of {pair.true} taken for {pair.predicted} ({pair.share:.0%})"
        for pair in pairs
    )
    share = float(np.trace(confusion) / max(1, confusion.sum()))
    return titled(
        alt.layer(shaded, *marks).properties(width={"step": step}, height={"step": step}),
        title,
        f"True against predicted class for {int(confusion.sum()):,} texts of {len(classes)} classes, "
        f"{share:.1%} right. Most confused: {confused or 'none'}.",
        subtitle or None,
    )


def calibration_figure(curves: dict[str, Calibration], title: str, subtitle: str = "") -> Chart:
    """Reliability diagram: the frequency of being right by predicted probability, against the diagonal.

    Args:
        curves: By name, such as before and after calibration; the size of a point counts the predictions of its bin.
        title: What was classified.
        subtitle: Protocol and numbers.

    Returns:
        An Altair chart.
    """
    alt = altair()
    points = [
        {
            "curve": f"{name} (ECE {100 * curve.error:.1f})",
            "confidence": float(confidence),
            "accuracy": float(accuracy),
            "predictions": int(count),
        }
        for name, curve in curves.items()
        for confidence, accuracy, count in zip(
            curve.confidence, curve.accuracy, curve.counts, strict=True
        )
        if count
    ]
    share = alt.Scale(domain=[0, 1], nice=False)
    percent = alt.Axis(format=".0%")
    x = alt.X("confidence:Q", title="confidence", scale=share, axis=percent)
    y = alt.Y("accuracy:Q", title="came true", scale=share, axis=percent)
    ideal = alt.Chart(
        alt.Data(values=[{"confidence": end, "accuracy": end} for end in (0, 1)])
    ).mark_line(strokeDash=[4, 4], strokeWidth=1, color="#7A7A7A")
    drawn = alt.Chart(alt.Data(values=points)).encode(
        x=x,
        y=y,
        color=alt.Color(
            "curve:N", title=None, sort=list(dict.fromkeys(p["curve"] for p in points))
        ),
        tooltip=[
            "curve:N",
            alt.Tooltip("confidence:Q", format=".1%"),
            alt.Tooltip("accuracy:Q", title="came true", format=".1%"),
            alt.Tooltip("predictions:Q", format=","),
        ],
    )
    size = alt.Size("predictions:Q", legend=None).scale(range=[20, 400])
    errors = "; ".join(f"{name}: {100 * curve.error:.1f}" for name, curve in curves.items())
    return titled(
        alt.layer(
            ideal.encode(x=x, y=y),
            drawn.mark_line(),
            drawn.mark_circle(opacity=0.8).encode(size=size),
        ).properties(width=320, height=320),
        title,
        f"How often a probability came true, by its size. Expected calibration error times 100: {errors}.",
        subtitle or None,
    )
