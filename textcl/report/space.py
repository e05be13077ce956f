"""The sections about the space: its numbers and figures, maps, nearest neighbours, and what a classifier confuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Int

from textcl.figures.curves import ridges
from textcl.figures.space import embedding_map, plane, spectrum
from textcl.probe.maps import Map, pca_map, umap_map
from textcl.probe.neighbours import distinct, drawn, nearest, unit
from textcl.probe.numbers import Space
from textcl.probe.texts import ProbeData
from textcl.report.models import Model
from textcl.report.page import Document, Neighbour, slug

QUERIES, NEIGHBOURS = 6, 4
"""Texts whose neighbours are shown, and how many neighbours each."""

_TEXT = 200  # characters of a text in a tooltip

_NUMBERS: Mapping[str, Callable[[Space], float | None]] = {
    "spearman × 100": lambda space: space.spearman,
    "alignment": lambda space: space.alignment,
    "uniformity": lambda space: space.uniformity,
    "tolerance": lambda space: space.tolerance,
    "mean cosine": lambda space: space.mean_cosine,
    "top share": lambda space: space.top_share,
    "effective rank": lambda space: space.effective_rank,
}


def space_section(page: Document, models: Sequence[Model], data: ProbeData) -> None:
    """Numbers, spectrum and scores of the models on the same texts."""
    columns = {
        name: number
        for name, number in _NUMBERS.items()
        if any(number(model.space) is not None for model in models)
    }
    page.table(
        f"The space of {data.source}",
        ("model", *columns),
        [[model.name, *(number(model.space) for number in columns.values())] for model in models],
        note="Alignment: mean squared distance of positive pairs. Uniformity: ln mean e^(−2 · squared distance). Both: "
        "lower is better. Tolerance: mean cosine of two texts of one class. Top share: variance in the strongest "
        "direction; effective rank: how many directions carry the variance. Encoded in float32, dropout off.",
    )
    page.figure(
        "spectrum", spectrum({model.name: model.space.spectrum for model in models}), "half"
    )
    kinds = {"positives": "positives", "random": "random pairs", "hardest": "nearest"}
    rows = [
        (
            model.name,
            {kinds[kind]: counts for kind, counts in model.space.histograms.items() if any(counts)},
        )
        for model in models
    ]
    positives = data.facts().positives
    subtitle = f"positives: {positives}" if positives else None
    page.figure(
        "cosines", ridges(rows, "Cosines by kind of pair", side="model", subtitle=subtitle), "half"
    )
    _bands(page, models)
    _plane(page, models)


def _bands(page: Document, models: Sequence[Model]) -> None:
    if not models[0].space.bands:
        return
    rows = [
        (
            f"{band.low:g}–{band.high:g}",
            {m.name: m.space.bands[at].histogram for m in models if m.space.bands[at].pairs},
        )
        for at, band in enumerate(models[0].space.bands)
    ]
    chart = ridges(
        [row for row in rows if row[1]],
        "Cosines by gold score",
        side="gold score",
        subtitle="bands that lie apart and in order are what Spearman's correlation rewards",
    )
    page.figure("gold", chart, "half")


def _plane(page: Document, models: Sequence[Model]) -> None:
    """Models between uniformity and tolerance where there are labels, else alignment."""
    key = "tolerance" if models[0].space.tolerance is not None else "alignment"
    rows = [
        {
            "uniformity": model.space.uniformity,
            key: _NUMBERS[key](model.space),
            "name": model.name,
            "model": model.name,
            "label": model.name,
        }
        for model in models
        if _NUMBERS[key](model.space) is not None and model.space.uniformity is not None
    ]
    if not rows:
        return
    up = "up: classes stay together" if key == "tolerance" else "down: positives stay together"
    chart = plane(
        rows,
        x="uniformity",
        y=key,
        title=f"Uniformity and {key}",
        subtitle=f"left: spread more evenly; {up}",
        color="model",
        label="",
    )
    page.figure("uniformity", chart, "half")


def map_section(
    page: Document,
    models: Sequence[Model],
    data: ProbeData,
    kinds: Sequence[str],
    points: int,
    seed: int,
) -> None:
    """Maps of the texts, one a model and kind."""
    places = distinct(data.texts)
    shown = drawn(len(places), points, seed)
    page.section(
        "map",
        "Map",
        "Point at a text to read it" + (", click a label to pick it." if data.labels else "."),
    )
    if len(places) < 4:
        page.missing(f"There is no map: {len(places)} different texts are too few.")
        return
    if len(shown) < len(places):
        page.text(f"{len(shown):,} of {len(places):,} texts, drawn with seed {seed}.", "note")
    if data.labels is None:
        page.missing("Points have one colour: the texts have no labels.")
    for kind in kinds:
        for model in models:
            units = unit(model.vectors[places])
            flat = _map_of(kind, units, shown, seed)
            rows = [
                {
                    "x": round(float(x), 4),
                    "y": round(float(y), 4),
                    "text": _short(data.texts[int(place)]),
                    **({} if data.labels is None else {"label": str(data.labels[place])}),
                }
                for (x, y), place in zip(flat.points, places[shown], strict=True)
            ]
            page.figure(
                f"{kind}-{slug(model.name)}",
                embedding_map(rows, f"{kind.upper()} {model.name}", flat.how),
                "half",
            )


def _map_of(kind: str, units: np.ndarray, shown: Int[np.ndarray, " n"], seed: int) -> Map:
    """PCA is fitted on all texts, UMAP on those that are shown."""
    if kind == "umap":
        return umap_map(units[shown], seed)
    flat = pca_map(units)
    return Map(flat.points[shown], flat.how)


def neighbour_section(page: Document, models: Sequence[Model], data: ProbeData, seed: int) -> None:
    """The nearest texts of some texts under every model, and how much they changed over all texts."""
    places = distinct(data.texts)
    page.section("neighbours", "Nearest neighbours")
    if len(places) < 3:
        page.missing(f"There are no neighbours: {len(places)} different texts are too few.")
        return
    texts = [data.texts[place] for place in places]
    labels = None if data.labels is None else [str(data.labels[place]) for place in places]
    every = np.arange(len(places))
    neighbours = [nearest(unit(model.vectors[places]), every, NEIGHBOURS) for model in models]
    page.text(_changes(models, [near for near, _ in neighbours], labels))
    for query in drawn(len(places), QUERIES, seed):
        columns: list[tuple[str, list[Neighbour]]] = []
        for model, (near, cosines) in zip(models, neighbours, strict=True):
            old = set(neighbours[0][0][query].tolist())
            listed = [
                Neighbour(texts[place], cosine, labels[place] if labels else "", place not in old)
                for place, cosine in zip(near[query].tolist(), cosines[query].tolist(), strict=True)
            ]
            columns.append((model.name, listed))
        page.neighbours(texts[query], labels[query] if labels else "", columns)


def _changes(
    models: Sequence[Model], near: Sequence[np.ndarray], labels: Sequence[str] | None
) -> str:
    parts = [f"Texts drawn at random, with the {near[0].shape[1]} texts of the highest cosine."]
    for model, places in zip(models[1:], near[1:], strict=True):
        kept = np.mean(
            [len({*a} & {*b}) for a, b in zip(near[0].tolist(), places.tolist(), strict=True)]
        )
        parts.append(
            f"Over all {len(places):,} texts, {models[0].name} and {model.name} share {kept:.1f} of "
            f"{places.shape[1]} neighbours."
        )
    if labels:
        ids = np.unique(labels, return_inverse=True)[1]
        same = [
            f"{np.mean(ids[places] == ids[:, None]):.0%} ({m.name})"
            for m, places in zip(models, near, strict=True)
        ]
        parts.append(f"Neighbours that share the text's label: {', '.join(same)}.")
    return " ".join(parts)


def _short(text: str) -> str:
    return text if len(text) <= _TEXT else f"{text[: _TEXT - 1]}…"
