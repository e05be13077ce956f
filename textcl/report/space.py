"""The space of models before and after training: vectors of the same texts, their neighbours, and maps of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.decomposition import PCA
from torch.nn import functional as F

from textcl.benchmarks import EncodeWith
from textcl.encoder import Encoder
from textcl.errors import RunError, UserError
from textcl.probe import embed, probe
from textcl.probe_data import ProbeData
from textcl.probing import started_from
from textcl.report.runs import RunRecord

MODELS = 6
"""Most models of a report: what a run started from, and its best weights, count as two."""

POINTS = 1000
"""Most points of a map."""

_TABLE = 2**24  # cosines held at once


@dataclass(frozen=True)
class Model:
    """A model and what it makes of the texts.

    Args:
        name: What the report calls it.
        run: Label of its run.
        trained: Whether it is the run's result, and not what it started from.
        vectors: One row a text.
        numbers: What `textcl probe` measures.
    """

    name: str
    run: str
    trained: bool
    vectors: Float[np.ndarray, "N D"]
    numbers: Mapping[str, Any]


class Stage(NamedTuple):
    """A model of a run that can be loaded, or a reason why not.

    Args:
        name: What the report calls it.
        run: Label of its run.
        trained: Whether it is the run's result, and not what it started from.
        load: Loads it; None where the run has saved no weights.
    """

    name: str
    run: str
    trained: bool
    load: Callable[[], Encoder] | None


def stages(runs: Sequence[RunRecord]) -> list[Stage]:
    """Every run's model before and after training; one that several runs started from comes once."""
    found: list[Stage] = []
    starts: set[str] = set()
    alone = len(runs) == 1
    for run in runs:
        start = repr(
            [run.settings.get(k) for k in ("model", "pooling", "num_layers", "max_length")]
        )
        if start not in starts:
            load = partial(started_from, run.folder.path)
            found.append(Stage(_name(run, False, alone), run.label, False, load))
        starts.add(start)
        load = partial(Encoder.from_pretrained, run.best) if run.best else None
        found.append(Stage(_name(run, True, alone), run.label, True, load))
    return found


def models_of(
    found: Sequence[Stage], data: ProbeData, say: Callable[[str], object]
) -> tuple[list[Model], list[str]]:
    """What models make of the same texts.

    Args:
        found: The models.
        data: Texts.
        say: Told what is being encoded.

    Returns:
        The models that can be loaded, at most `MODELS`, and a sentence for each that is left out.
    """
    models: list[Model] = []
    missing: list[str] = []
    for name, run, trained, load in found:
        if load is None:
            missing.append(f"{name} is left out: the run has saved no weights yet.")
        elif len(models) == MODELS:
            missing.append(f"{name} is left out: a report shows at most {MODELS} models.")
        else:
            say(f"looking at {name}")
            try:
                vectors = embed(EncodeWith(load(), precision="float32"), data.texts)
            except (UserError, RunError) as error:
                missing.append(f"{name} is left out: {error}.")
                continue
            models.append(Model(name, run, trained, vectors, probe(vectors, data)))
    return models, missing


def _name(run: RunRecord, trained: bool, alone: bool) -> str:
    if trained:
        return "after training" if alone else run.label
    if alone:
        return "before training"
    layers = run.settings.get("num_layers")
    model = Path(str(run.settings["model"])).name
    return f"{model}{f', {layers} layers' if layers else ''}, before training"


def unit(vectors: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
    """Rows of length 1; a row of zeros stays."""
    return F.normalize(torch.from_numpy(vectors), dim=-1, eps=1e-12).numpy()


def distinct(texts: Sequence[str]) -> Int[np.ndarray, " n"]:
    """The first place of every distinct text."""
    first: dict[str, int] = {}
    for place, text in enumerate(texts):
        first.setdefault(text, place)
    return np.fromiter(first.values(), np.int64)


def nearest(
    units: Float[np.ndarray, "N D"], queries: Int[np.ndarray, " q"], k: int
) -> tuple[Int[np.ndarray, "q k"], Float[np.ndarray, "q k"]]:
    """The nearest other rows of some rows, by cosine; of equal ones, the first.

    Args:
        units: Unit vectors, no text twice.
        queries: Rows whose neighbours are wanted.
        k: How many; fewer where there are no more.
    """
    k = min(k, len(units) - 1)
    places: list[np.ndarray] = []
    cosines: list[np.ndarray] = []
    for block in np.array_split(queries, max(1, -(-len(queries) * len(units) // _TABLE))):
        table = units[block] @ units.T
        table[np.arange(len(block)), block] = -np.inf
        order = np.argsort(-table, axis=1, kind="stable")[:, :k]
        places.append(order)
        cosines.append(np.take_along_axis(table, order, 1))
    return np.concatenate(places), np.concatenate(cosines)


@dataclass(frozen=True)
class Map:
    """Texts in a plane.

    Args:
        points: Two coordinates a text.
        how: How they were made.
    """

    points: Float[np.ndarray, "N 2"]
    how: str


def pca_map(units: Float[np.ndarray, "N D"]) -> Map:
    """The two directions of most variance; each points to where its largest loading is positive."""
    fitted: Any = PCA(n_components=2, svd_solver="full").fit(units)
    turned = np.sign(fitted.components_[range(2), np.abs(fitted.components_).argmax(1)])
    shares = fitted.explained_variance_ratio_
    points = fitted.transform(units) * turned
    return Map(
        points, f"PCA, two directions with {shares[0]:.1%} and {shares[1]:.1%} of the variance"
    )


def umap_map(units: Float[np.ndarray, "N D"], seed: int) -> Map:
    """UMAP by cosine.

    Raises:
        UserError: If the extra `umap` is not installed.

    Source: McInnes, Healy and Melville 2018, https://arxiv.org/abs/1802.03426
    """
    import importlib
    import warnings

    neighbours = min(15, len(units) - 1)
    with warnings.catch_warnings():
        # it says that Tensorflow is not there, and that a fixed seed means one thread
        warnings.simplefilter("ignore")
        try:
            umap: Any = importlib.import_module("umap")
        except ModuleNotFoundError as error:
            raise UserError("a UMAP needs umap-learn: pip install 'textcl-train[umap]'") from error
        reducer: Any = umap.UMAP(n_neighbors=neighbours, metric="cosine", random_state=seed)
        points = np.asarray(reducer.fit_transform(units), np.float64)
    return Map(points, f"UMAP, cosine, {neighbours} neighbours, minimal distance 0.1, seed {seed}")


def umap_there() -> bool:
    """Whether UMAP can be used."""
    import importlib.util

    return importlib.util.find_spec("umap") is not None


def drawn(count: int, most: int, seed: int) -> Int[np.ndarray, " n"]:
    """At most `most` of `count` places, in order; all where there are no more."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
