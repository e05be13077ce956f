"""The sections about training: curves, scores over time, and the path between alignment and uniformity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from textcl.figures.charts import Record
from textcl.figures.curves import bands, curves, ridges
from textcl.figures.space import plane
from textcl.report.page import Document, slug
from textcl.report.runs import RunRecord

RUNS = 7
"""Most runs in one figure, each with a colour of its own."""

RIDGES = 9
"""Most histograms of a run."""

TALL = 5
"""Histograms above which their figure takes two rows of the grid."""

_POINTS = 300

_CURVES = (
    ("loss", "loss", "Loss", "loss", ".4~g"),
    ("learning-rate", "learning_rate", "Learning rate", "learning rate", ".1~e"),
    ("gradient-norm", "grad_norm", "Gradient norm", "gradient norm before clipping", ".3~g"),
    (
        "rows-per-second",
        "rows_per_second",
        "Speed",
        "training rows per second since the start",
        ".4~g",
    ),
)
_PUSH = (
    (
        "effective-negatives",
        "penalty/effective_negatives",
        "Effective negatives",
        "negatives that the loss really looks at",
        "e to the entropy of how the push is shared among an anchor's negatives",
        ".3~g",
    ),
    (
        "gradient-weight",
        "penalty/gradient_weight",
        "Push on the negatives",
        "gradient weight on negatives",
        "mean over anchors; near 0 there is nothing left to learn from a batch",
        ".3~g",
    ),
    (
        "saturated",
        "penalty/saturated_rows",
        "Saturated anchors",
        "share of anchors with a gradient weight below 0.01",
        "",
        ".0~%",
    ),
    (
        "masked",
        "masked",
        "Masked candidates",
        "candidates masked for their text, by anchor",
        "",
        ".3~g",
    ),
)
_SCORES = (
    ("scores/positive_mean", "positives"),
    ("scores/hardest_negative", "hardest negative"),
    ("scores/negative_mean", "negatives"),
)

T = TypeVar("T")


def training_section(page: Document, runs: Sequence[RunRecord]) -> None:
    """Curves of one or several runs by update."""
    page.section("training", "Training")
    shown = runs[:RUNS]
    if len(runs) > RUNS:
        page.missing(
            f"Curves show the first {RUNS} of {len(runs)} runs, as more colours are hard to distinguish."
        )
    silent = [run.label for run in shown if not run.updates]
    if silent:
        page.missing(
            f"No update of {', '.join(silent)} was logged yet, so there are no curves of it."
        )
    dev = {run.label: thin(run.dev_scores(), _POINTS) for run in shown if run.dev_scores()}
    short = [f"{run.label} ({_logged(run)})" for run in shown if len(run.updates) == 1]
    if short:
        page.missing(
            f"A curve needs two logged updates, and one was logged of {', '.join(short)}: "
            "train longer, or log more often with --set log_every=1."
        )
    if any(len(points) > 1 for points in dev.values()):
        protocols = list(dict.fromkeys(run.facts.dev for run in shown if run.facts.dev))
        page.figure(
            "dev", curves(dev, "Dev score", "dev score", subtitle="; ".join(protocols), form=".2f")
        )
    else:
        page.missing(
            "There is no curve of dev scores: no dev set was given, or it was scored less than twice."
        )
    columns = {
        f"{run.label}, {name}" if len(shown) > 1 else name: thin(points, _POINTS)
        for run in shown
        for name, points in run.column_scores().items()
    }
    if any(len(points) > 1 for points in columns.values()) and len(columns) <= RUNS:
        title = "Dev score of each label column"
        page.figure("dev-columns", curves(columns, title, "dev score", form=".2f"))
    for name, key, title, value, form in _CURVES:
        _curve(page, shown, name, key, title, value, "", form)


def _logged(run: RunRecord) -> str:
    """Its only logged update, in words."""
    line = run.updates[0]
    return f"update {line.step}: loss {line.numbers['loss']:.4g}"


def push_section(page: Document, runs: Sequence[RunRecord]) -> None:
    """The treatment of positives and negatives by the loss, from the statistics in the log."""
    page.section(
        "scores",
        "What the loss does to the scores",
        "Statistics of training batches, with dropout on. Scores are the dot products that the loss compares: cosines, "
        "but for feature transformation.",
    )
    seen = [run for run in runs[:RUNS] if run.series("scores/positive_mean")]
    for run in runs[:RUNS]:
        if run not in seen and run.updates:
            page.missing(
                f"{run.label} logged no statistics of scores: its objective compares no table of candidates, or it was "
                "trained by an earlier version."
            )
    for run in seen[:3]:
        _ridges(page, run, alone=len(runs) == 1)
    _trajectory(page, seen)
    if len(seen) == 1:
        parts = {name: thin(seen[0].series(key), _POINTS) for key, name in _SCORES}
        parts = {name: points for name, points in parts.items() if len(points) > 1}
        if parts:
            page.figure("score-means", curves(parts, "Mean scores", "score", form=".3~f"))
    else:
        for key, name in _SCORES:
            title = f"Mean score of the {name}"
            _curve(
                page, seen, f"score-{slug(name)}", key, title, f"score of the {name}", "", ".3~f"
            )
    for name, key, title, value, subtitle, form in _PUSH:
        if any(y for run in seen for _, y in run.series(key)):
            _curve(page, seen, name, key, title, value, subtitle, form)
    for run in [run for run in runs[:3] if run.series("dimension_std/mean")]:
        _spread(page, run, alone=len(runs) == 1)


def _curve(
    page: Document,
    runs: Sequence[RunRecord],
    name: str,
    key: str,
    title: str,
    value: str,
    subtitle: str,
    form: str,
) -> None:
    series = {run.label: thin(run.series(key), _POINTS) for run in runs}
    series = {label: points for label, points in series.items() if len(points) > 1}
    if series:
        page.figure(name, curves(series, title, value, subtitle=subtitle or None, form=form))


def _ridges(page: Document, run: RunRecord, alone: bool) -> None:
    kinds = {"positives": "scores/positive_histogram", "negatives": "scores/negative_histogram"}
    lines = [line for line in run.updates if any(line.lists.get(key) for key in kinds.values())]
    rows = [
        (
            str(line.step),
            {kind: line.lists[key] for kind, key in kinds.items() if line.lists.get(key)},
        )
        for line in thin(lines, RIDGES)
    ]
    if not rows:
        page.missing(f"{run.label} logged no histograms of scores.")
        return
    of = "" if alone else f" of {run.label}"
    chart = ridges(
        rows,
        f"Scores of positives and negatives{of}",
        side="update",
        subtitle="each histogram is scaled to its own peak; later updates below",
    )
    size = "tall" if len(rows) > TALL else ""
    page.figure(f"ridges{'' if alone else '-' + slug(run.label)}", chart, size)


def _spread(page: Document, run: RunRecord, alone: bool) -> None:
    lines = [line for line in run.updates if "dimension_std/quantiles" in line.lists]
    if len(lines) < 2:
        return
    names = ("0", "10", "25", "50", "75", "90", "100")
    points = {
        name: thin(
            [(float(line.step), line.lists["dimension_std/quantiles"][at]) for line in lines],
            _POINTS,
        )
        for at, name in enumerate(names)
    }
    of = "" if alone else f" of {run.label}"
    chart = bands(
        points,
        f"Spread of the dimensions{of}",
        "standard deviation of a dimension of the unit embeddings",
        "median, and bands that hold 50, 80 and all of the dimensions; bands that touch 0 are collapsed dimensions",
    )
    page.figure(f"dimensions{'' if alone else '-' + slug(run.label)}", chart)


def _trajectory(page: Document, runs: Sequence[RunRecord]) -> None:
    rows: list[Record] = []
    for run in runs:
        path = trajectory(run)
        if len(path) < 2:
            continue
        for order, (step, uniformity, alignment) in enumerate(path := thin(path, 60)):
            ends = order in (0, len(path) - 1)
            rows.append(
                {
                    "uniformity": round(uniformity, 4),
                    "alignment": round(alignment, 4),
                    "name": f"update {step:g}",
                    "label": f"update {step:g}" if ends else "",
                    "run": run.label,
                    "order": order,
                }
            )
    if not rows:
        page.missing(
            "There is no path between alignment and uniformity: it is made of score statistics of cosines, "
            "of two updates at least."
        )
        return
    chart = plane(
        rows,
        x="uniformity",
        y="alignment",
        title="Alignment and uniformity over training",
        subtitle="lower is better on both; of training batches, from their score statistics",
        path="run",
        color="run",
        label="label",
        height=180,
    )
    page.figure("trajectory", chart)


def trajectory(run: RunRecord) -> list[tuple[float, float, float]]:
    """(update, uniformity, alignment) of the training batches of a run; empty where scores are no cosines.

    Alignment, the mean squared distance of positive pairs, is 2 − 2 · their mean cosine. Uniformity,
    ln mean e^(−2 · squared distance), is read from the histogram of the negatives, a bin at a time (the integral over
    the bin, as if cosines spread evenly in it).

    Source: Wang & Isola 2020, https://arxiv.org/abs/2005.10242
    """
    points: list[tuple[float, float, float]] = []
    for line in run.updates:
        mean = line.numbers.get("scores/positive_mean")
        counts = line.lists.get("scores/negative_histogram")
        if line.numbers.get("scores/cosines") == 1 and mean is not None and counts and sum(counts):
            points.append((float(line.step), uniformity_of(counts), 2 - 2 * mean))
    return points


def uniformity_of(counts: Sequence[float]) -> float:
    """Uniformity, ln mean e^(4 · cosine − 4), of cosines counted in equal bins over [−1, 1]."""
    width = 2 / len(counts)
    spread = math.sinh(2 * width) / (2 * width)
    total = sum(
        count * math.exp(4 * ((at + 0.5) * width - 1) - 4) * spread
        for at, count in enumerate(counts)
    )
    return math.log(total / sum(counts))


def thin(values: Sequence[T], most: int) -> list[T]:
    """At most `most` of the values, evenly spaced, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(at * (len(values) - 1) / (most - 1))] for at in range(most)]
