"""The shape of a model's space: numbers and histograms of the vectors it gives to some texts.

`textcl.probe.numbers` says what each number is. A number that the texts do not define is None.
"""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from textcl.arithmetic import unit
from textcl.contrast.statistics import histogram
from textcl.errors import RunError
from textcl.evaluation.benchmarks import Encodes
from textcl.evaluation.correlation import spearman
from textcl.evaluation.geometry import alignment, tolerance, uniformity
from textcl.evaluation.spectrum import spectrum
from textcl.evaluation.whitening import Whitening
from textcl.probe.numbers import Band, Space
from textcl.probe.texts import ProbeData

PAIRS = 100_000
"""Random pairs, and pairs of one class, that a histogram is made of; all of them where there are fewer."""

BANDS = 5
"""Equal bands of the gold score."""

_TABLE = 2**24  # cosines held at once while the nearest texts are looked for


def embed(model: Encodes, texts: Sequence[str]) -> Float[np.ndarray, "N D"]:
    """Vectors of texts, each distinct one encoded once.

    Raises:
        RunError: If a vector is not finite.
    """
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    vectors = np.asarray(model.encode(list(places)))
    if not np.isfinite(vectors).all():
        raise RunError("some vectors of the model are not finite: its weights are broken")
    return vectors[[places[text] for text in texts]]


@torch.no_grad()
def probe(
    vectors: Float[np.ndarray, "N D"], data: ProbeData, whitening: Whitening | None = None
) -> Space:
    """Measure the vectors of `data.texts`.

    Args:
        vectors: A row for every text; need not be normalised.
        data: The texts, and what is known of them.
        whitening: Applied first.

    Returns:
        The numbers of one model.

    Source: Wang & Isola 2020, https://arxiv.org/abs/2005.10242; Wang & Liu 2021,
        https://arxiv.org/abs/2012.09740; Ethayarajh 2019, https://arxiv.org/abs/1909.00512
    """
    rows = vectors if whitening is None else whitening.apply(vectors)
    units = unit(torch.from_numpy(np.ascontiguousarray(rows)))
    shape = spectrum(rows)
    scores = _scores(units, data)
    return Space(
        dimensions=rows.shape[1],
        spearman=_rank_correlation(units, data),
        alignment=_alignment(units, data),
        uniformity=_number(uniformity(units)),
        tolerance=_tolerance(units, data, "conditional"),
        tolerance_joint=_tolerance(units, data, "joint"),
        mean_cosine=shape.mean_cosine,
        top_share=shape.top_share,
        effective_rank=shape.effective_rank,
        spectrum=[float(f"{share:.4g}") for share in shape.shares[:512]],
        histograms={kind: counts(x) for kind, x in scores.items()},
        score_means={k: _number(x.mean()) if len(x) else None for k, x in scores.items()},
        bands=_bands(units, data),
    )


def counts(scores: Float[Tensor, " n"]) -> list[int]:
    """Histogram of cosines, `BINS` equal bins over [-1, 1]."""
    return [int(n) for n in histogram(scores, torch.ones_like(scores, dtype=torch.bool))]


def _cosines(units: Float[Tensor, "N D"], pairs: Int[np.ndarray, "P 2"]) -> Float[Tensor, " P"]:
    first, second = torch.from_numpy(pairs).unbind(1)
    return (units[first] * units[second]).sum(1)


def _rank_correlation(units: Tensor, data: ProbeData) -> float | None:
    if data.pairs is None or data.gold is None:
        return None
    rank = spearman(_cosines(units, data.pairs).double().numpy(), data.gold)
    return None if rank is None else 100 * rank


def _alignment(units: Tensor, data: ProbeData) -> float | None:
    positives = data.positives
    if positives is None or not len(positives):
        return None
    first, second = torch.from_numpy(positives).unbind(1)
    return _number(alignment(units[first], units[second]))


def _tolerance(
    units: Tensor, data: ProbeData, kind: Literal["conditional", "joint"]
) -> float | None:
    if data.labels is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no two texts of one class
        return _number(tolerance(units, torch.from_numpy(_ids(data.labels)), kind))


def _scores(units: Tensor, data: ProbeData) -> dict[str, Tensor]:
    draw = np.random.default_rng(data.seed)
    by_kind = {"random": _cosines(units, _any_pairs(len(units), draw))}
    if data.labels is not None:
        by_kind = {"positives": _cosines(units, _class_pairs(_ids(data.labels), draw)), **by_kind}
    elif data.positives is not None:
        by_kind = {"positives": _cosines(units, data.positives), **by_kind}
    return {**by_kind, "hardest": hardest_neighbours(units, data)}


def _any_pairs(count: int, draw: np.random.Generator) -> Int[np.ndarray, "P 2"]:
    """Pairs of two different places, all where there are few."""
    if count * (count - 1) // 2 <= PAIRS:
        return np.stack(np.triu_indices(count, 1), 1)
    first = draw.integers(0, count, PAIRS)
    return np.stack([first, (first + draw.integers(1, count, PAIRS)) % count], 1)


def _class_pairs(classes: Int[np.ndarray, " N"], draw: np.random.Generator) -> np.ndarray:
    """Pairs of two places of one class, every such pair with the same chance."""
    order = np.argsort(classes, kind="stable")
    sizes = np.bincount(classes)
    starts = np.cumsum(sizes) - sizes
    weights = sizes * (sizes - 1.0)
    total = int(weights.sum() // 2)
    if total <= PAIRS:
        parts = [s + np.stack(np.triu_indices(n, 1), 1) for s, n in zip(starts, sizes, strict=True)]
        return order[np.concatenate(parts)]
    which = draw.choice(len(sizes), PAIRS, p=weights / weights.sum())
    first = draw.integers(0, sizes[which])
    second = (first + draw.integers(1, sizes[which])) % sizes[which]
    return order[starts[which, None] + np.stack([first, second], 1)]


def hardest_neighbours(units: Float[Tensor, "N D"], data: ProbeData) -> Float[Tensor, " n"]:
    """Cosine of each text with the nearest one that is neither equal, nor its positive, nor of its class.

    Texts that have no such other are left out.
    """
    texts = torch.from_numpy(_ids(data.texts))
    classes = None if data.labels is None else torch.from_numpy(_ids(data.labels))
    own, partners = torch.from_numpy(_partners(texts.tolist(), data.positives)).unbind(1)
    highest: list[Tensor] = []
    for rows in torch.arange(len(units)).split(max(1, _TABLE // len(units))):
        cosines = units[rows] @ units.T
        out = texts[rows, None] == texts
        here = (own >= rows[0]) & (own <= rows[-1])
        out[own[here] - rows[0], partners[here]] = True
        if classes is not None:
            out |= classes[rows, None] == classes
        highest.append(cosines.masked_fill(out, -math.inf).amax(1))
    nearest = torch.cat(highest)
    return nearest[nearest > -math.inf]


def _partners(texts: list[int], positives: np.ndarray | None) -> Int[np.ndarray, "n 2"]:
    """Every place, with every place whose text is a positive of its text, whichever row says so."""
    places: dict[int, list[int]] = defaultdict(list)
    theirs: dict[int, set[int]] = defaultdict(set)
    for place, text in enumerate(texts):
        places[text].append(place)
    for first, second in [] if positives is None else positives.tolist():
        theirs[texts[first]].add(texts[second])
        theirs[texts[second]].add(texts[first])
    pairs = [
        (place, other)
        for place, text in enumerate(texts)
        for partner in theirs[text]
        for other in places[partner]
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _bands(units: Tensor, data: ProbeData) -> list[Band]:
    if data.pairs is None or data.gold is None:
        return []
    cosines = _cosines(units, data.pairs)
    edges = np.linspace(*data.gold_range, BANDS + 1)
    places = np.clip(np.searchsorted(edges, data.gold, side="right") - 1, 0, BANDS - 1)
    bands: list[Band] = []
    for band in range(BANDS):
        mine = cosines[torch.from_numpy(places == band)]
        bands.append(
            Band(
                low=float(edges[band]),
                high=float(edges[band + 1]),
                pairs=len(mine),
                mean=_number(mine.mean()) if len(mine) else None,
                std=_number(mine.std()) if len(mine) > 1 else None,
                histogram=counts(mine),
            )
        )
    return bands


def _ids(names: Sequence[str]) -> Int[np.ndarray, " N"]:
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.array([places[name] for name in names], np.int64)


def _number(value: Tensor) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
