"""Density of the clusters of embeddings, the concentration of ProtoNCE."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

NO_SPREAD = 1e-6


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
