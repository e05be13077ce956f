"""Maps of a space in two dimensions: PCA and UMAP."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from sklearn.decomposition import PCA

from textcl.errors import UserError


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
    fitted = PCA(n_components=2, svd_solver="full").fit(units)
    directions = np.asarray(fitted.components_)
    turned = np.sign(directions[range(2), np.abs(directions).argmax(1)])
    shares = np.asarray(fitted.explained_variance_ratio_)
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
            umap = importlib.import_module("umap")
        except ModuleNotFoundError as error:
            raise UserError("a UMAP needs umap-learn: pip install 'textcl-train[umap]'") from error
        reducer = umap.UMAP(n_neighbors=neighbours, metric="cosine", random_state=seed)
        points = np.asarray(reducer.fit_transform(units), np.float64)
    return Map(points, f"UMAP, cosine, {neighbours} neighbours, minimal distance 0.1, seed {seed}")


def has_umap() -> bool:
    """Whether UMAP can be used."""
    import importlib.util

    return importlib.util.find_spec("umap") is not None
