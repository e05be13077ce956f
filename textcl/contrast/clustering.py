"""k-means over the embeddings of all training rows."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from textcl.arithmetic import unit
from textcl.contrast.density import density
from textcl.contrast.prototypes import Clusters
from textcl.errors import UserError


@dataclass(frozen=True)
class KMeansClusters:
    """Clusters the embeddings of all training rows, once for each number of clusters.

    Runs on the CPU in float32. Both libraries restart from several draws of the first centres and keep the tightest
    result; they agree where clusters are far apart, and only there.

    Args:
        clusters: Numbers of clusters, for text about N/20, N/10 and N/5.
        temperature: Mean concentration.
        smoothing: See `density`.
        iterations: Of k-means.
        restarts: Of k-means.
        points_per_centroid: At most so many rows for each centre are used to find the centres.
        seed: Of the first clustering; the next ones count up.
        library: What runs k-means; "auto" takes faiss where it is installed, scikit-learn otherwise.

    Raises:
        UserError: If faiss is asked for and not installed.
    """

    clusters: Sequence[int]
    temperature: float = 0.2
    smoothing: float = 10.0
    iterations: int = 20
    restarts: int = 5
    points_per_centroid: int = 1000
    seed: int = 0
    library: Literal["auto", "faiss", "scikit-learn"] = "auto"

    def __post_init__(self) -> None:
        if self.library == "faiss" and not _has_faiss():
            raise UserError(
                "k-means with faiss needs faiss, which is not installed: "
                "pip install 'textcl-train[faiss]', or use library=\"scikit-learn\""
            )

    def __call__(self, features: Float[Tensor, "N D"]) -> list[Clusters]:
        """The clusterings of the rows, normalised first."""
        if max(self.clusters) > len(features):
            raise UserError(
                f"{max(self.clusters)} clusters need at least as many training rows, there are {len(features)}: "
                "ask for fewer clusters"
            )
        rows = unit(features.detach()).float().cpu()
        return [self._level(rows, count, self.seed + m) for m, count in enumerate(self.clusters)]

    def _level(self, rows: Tensor, count: int, seed: int) -> Clusters:
        chosen = _has_faiss() if self.library == "auto" else self.library == "faiss"
        fit = _faiss if chosen else _scikit_learn
        centroids, assignment = (torch.from_numpy(x) for x in fit(rows.numpy(), count, seed, self))
        phi = density(rows, assignment, centroids, self.temperature, self.smoothing)
        return Clusters(centroids, phi, assignment)


def _has_faiss() -> bool:
    return importlib.util.find_spec("faiss") is not None


def _scikit_learn(
    rows: np.ndarray, count: int, seed: int, how: KMeansClusters
) -> tuple[np.ndarray, np.ndarray]:
    most = how.points_per_centroid * count
    sample = rows
    if len(rows) > most:
        sample = rows[np.random.default_rng(seed).choice(len(rows), most, replace=False)]
    model = KMeans(
        count,
        n_init=how.restarts,  # pyright: ignore[reportArgumentType]
        max_iter=how.iterations,
        random_state=seed,
    )
    with warnings.catch_warnings():
        # fewer distinct texts than clusters: the empty ones are never used
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(sample)
    return model.cluster_centers_.astype(np.float32), np.asarray(model.predict(rows), np.int64)


def _faiss(
    rows: np.ndarray, count: int, seed: int, how: KMeansClusters
) -> tuple[np.ndarray, np.ndarray]:
    faiss = importlib.import_module("faiss")
    model = faiss.Kmeans(
        rows.shape[1],
        count,
        niter=how.iterations,
        nredo=how.restarts,
        seed=seed,
        max_points_per_centroid=how.points_per_centroid,
        min_points_per_centroid=1,
    )
    model.train(rows)
    _, assignment = model.index.search(rows, 1)
    return np.asarray(model.centroids, np.float32), np.asarray(assignment, np.int64)[:, 0]
