"""The second moments of embeddings: whitening them, and how many directions they really use."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Real

from textcl.errors import UserError


@dataclass(frozen=True)
class Whitening:
    """A linear map after which the fitted rows have zero mean and unit covariance.

    Args:
        mean: Subtracted from every row.
        kernel: Multiplied from the right; its columns are sorted by the variance they came from.

    Source: Su et al. 2021, algorithm 1, https://arxiv.org/abs/2103.15316
    """

    mean: Float[np.ndarray, " D"]
    kernel: Float[np.ndarray, "D K"]

    @classmethod
    def fit(cls, embeddings: Real[np.ndarray, "N D"], components: int | None = None) -> Whitening:
        """Fit on the rows of `embeddings` in float64.

        Directions whose variance is below 1e-10 of the largest are dropped with a warning: dividing by what rounding
        left of zero would make noise the loudest direction.

        Args:
            embeddings: At least two different rows.
            components: Leading directions to keep, at most D; all when None.

        Raises:
            UserError: If `components` is out of range or the rows do not differ.
        """
        rows = np.asarray(embeddings, np.float64)
        width = rows.shape[1]
        wanted = width if components is None else components
        if not 1 <= wanted <= width:
            raise UserError(f"whitening keeps 1 to {width} components here; {wanted} asked for")
        if len(rows) < 2 or not np.ptp(rows, axis=0).any():
            raise UserError(
                f"whitening needs at least two different rows; got {len(rows)} equal ones"
            )
        mean = rows.mean(0)
        # The singular values of the centred rows give the spectrum of the covariance without squaring its condition.
        _, singular, directions = np.linalg.svd(rows - mean, full_matrices=False)
        variances = singular**2 / (len(rows) - 1)
        kept = min(wanted, int((variances >= 1e-10 * variances[0]).sum()))
        if kept < wanted:
            message = f"whitening keeps {kept} of {wanted} components: {len(rows)} rows span no more directions"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
        return cls(mean, directions[:kept].T / np.sqrt(variances[:kept]))

    def apply(self, embeddings: Real[np.ndarray, "N D"]) -> Float[np.ndarray, "N K"]:
        """Whitened unit rows."""
        white = (np.asarray(embeddings, np.float64) - self.mean) @ self.kernel
        return white / np.maximum(np.linalg.norm(white, axis=1, keepdims=True), 1e-8)
