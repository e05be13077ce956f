"""ProtoNCE: each row is pulled to the centre of its cluster and pushed from those of others.

Source: methods.md J; Li et al. 2021, https://arxiv.org/abs/2005.04966
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn

from textcl.contrast import Contrast, cross_entropy, unit
from textcl.distributed import ALONE, World
from textcl.errors import UserError
from textcl.memory import Clusters, Prototypes
from textcl.types import Embeddings, LossOutput

DrawIds = Callable[[Int[Tensor, " n"]], Int[Tensor, " r"]]
"""Given ids, the drawn ones, such as `Subset`."""

NO_SPREAD = 1e-6
"""Mean distance to the centre up to which the rows of a cluster are the same text."""


class ProtoNce(nn.Module):
    """(1/R) Σ_m mean_i of the cross-entropy of q_i·c̄_j / φ_j over prototypes j, for R clusterings m.

    Columns are the prototypes of the rows of the batch and some drawn from the clusters that no row of the batch
    belongs to. Each has its own concentration φ as temperature. Only the anchors get a gradient. While the prototypes
    are empty (warm-up) the loss is 0. The method of the paper adds MoCo's loss:
    `WeightedSum([(1, Contrastive(…)), (1, ProtoNce(…))])`.

    Args:
        prototypes: The clusterings; a `Recluster` hook fills them.
        draw: Draws the negative prototypes of a clustering; the same on all ranks. `Subset(r)` draws r, or all of them
            where there are fewer.
        anchor: Name of the anchors.
        columns: "official" has one column for each row of the batch, so that two rows of one cluster are each other's
            negative and cost at least ln 2. "unique" has one for each prototype.
        world: The processes that train together; the prototypes of all their rows are columns.

    Note:
        The official code shares one parameter between the queue's size and the number of drawn prototypes, asks for at
        least as many as it draws, and draws from a set, which fails on Python 3.11.
    """

    def __init__(
        self,
        prototypes: Prototypes,
        draw: DrawIds,
        *,
        anchor: str = "anchor",
        columns: Literal["official", "unique"] = "official",
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.prototypes, self.draw = prototypes, draw
        self.anchor, self.columns, self.world = anchor, columns, world

    def tables(self, z: Embeddings) -> list[Contrast]:
        """The table of each clustering; its candidates are centres divided by their concentration."""
        rows = self.world.gather(z.rows)
        own = self.world.offset(len(z)) + torch.arange(len(z), device=rows.device)
        anchors = unit(z[self.anchor])
        return [self._table(anchors, rows, own, level) for level in self.prototypes.levels]

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the batch."""
        tables = self.tables(z)
        if not tables:
            return LossOutput(unit(z[self.anchor]).sum() * 0.0)
        losses = [self.world.mean(*table.reduce(cross_entropy)) for table in tables]
        counts = [float(len(table.candidates) - 1) for table in tables]
        return LossOutput(
            torch.stack(losses).mean(), {"negatives/prototypes": torch.tensor(counts).mean()}
        )

    def _table(self, anchors: Tensor, rows: Tensor, own: Tensor, level: Clusters) -> Contrast:
        of_batch, targets = level.assignment[rows], own
        free = level.occupied.index_fill(0, of_batch, False)
        drawn = self.draw(free.nonzero()[:, 0])
        if self.columns == "unique":
            of_batch, column = torch.unique(of_batch, return_inverse=True)
            targets = column[own]
        ids = torch.cat([of_batch, drawn])
        centroids = unit(level.centroids[ids, : anchors.shape[1]]) / level.density[ids, None]
        return Contrast(anchors, centroids.to(anchors), targets)


def density(
    features: Float[Tensor, "N D"],
    assignment: Int[Tensor, " N"],
    centroids: Float[Tensor, "C D"],
    temperature: float,
    smoothing: float = 10.0,
) -> Float[Tensor, " C"]:
    """Concentration φ of each cluster: the tighter and larger, the smaller.

    φ_c = Σ distances to the raw centre / (Z_c·ln(Z_c + smoothing)) for Z_c > 1 rows, the largest φ for a cluster that
    has no spread; clipped to the 10th and 90th percentile, then scaled to the mean `temperature`.

    Args:
        features: Unit rows.
        assignment: Cluster of each row.
        centroids: Raw centres.
        temperature: Mean of φ.
        smoothing: Keeps small clusters from a large φ.

    Returns:
        φ > 0; `temperature` for all if no cluster has a spread.

    Note:
        A cluster of one row has no spread to measure. Nor has one of equal rows, which are frequent in text: the
        official code gives it φ = 0 and divides by that.
    """
    distances = torch.cat(
        [
            torch.linalg.vector_norm(rows - centroids[ids], dim=1)
            for rows, ids in zip(features.split(65536), assignment.split(65536), strict=True)
        ]
    )
    sizes = torch.bincount(assignment, minlength=len(centroids)).to(distances.dtype)
    total = torch.zeros_like(sizes).index_add(0, assignment, distances)
    measured = (sizes > 1) & (total > NO_SPREAD * sizes)
    if not measured.any():
        return torch.full_like(sizes, temperature)
    phi = torch.where(measured, total / (sizes * (sizes + smoothing).log()), 0.0)
    phi = torch.where(measured, phi, phi.max())
    low, high = torch.quantile(phi, phi.new_tensor([0.1, 0.9]))
    phi = phi.clamp(low, high)
    return temperature * phi / phi.mean()


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
    model: Any = KMeans(
        count,
        n_init=how.restarts,  # pyright: ignore[reportArgumentType]
        max_iter=how.iterations,
        random_state=seed,
    )
    with warnings.catch_warnings():
        # fewer distinct texts than clusters: the empty ones are never used
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(sample)
    return model.cluster_centers_.astype(np.float32), model.predict(rows).astype(np.int64)


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
