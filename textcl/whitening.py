"""The second moments of embeddings: whitening them, and how many directions they really use."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Real
from scipy.special import entr

from textcl.errors import UserError

_SAMPLE = 10_000  # rows above which the spectrum is taken from a sample


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


@dataclass(frozen=True)
class Spectrum:
    """Shape of a cloud of embeddings; None where it is undefined.

    Args:
        mean_cosine: Mean cosine over pairs of rows; about 0 where directions are spread evenly.
        top_share: Share of the total variance along its strongest direction.
        effective_rank: exp of the entropy of the variance shares, 1 to D.
        deviations: Standard deviation (divisor N − 1) of every dimension.
        shares: Shares of the total variance, highest first; empty where there is none.

    Source: Ethayarajh 2019, https://arxiv.org/abs/1909.00512
    """

    mean_cosine: float | None
    top_share: float | None
    effective_rank: float | None
    deviations: Float[np.ndarray, " D"]
    shares: Float[np.ndarray, " R"]


def spectrum(embeddings: Real[np.ndarray, "N D"], seed: int = 0) -> Spectrum:
    """Anisotropy and spread of embeddings; from 10,000 rows drawn with `seed` where there are more.

    Raises:
        UserError: If there are fewer than two rows.
    """
    rows = np.asarray(embeddings)
    if len(rows) < 2:
        raise UserError(f"a spectrum needs at least two rows; got {len(rows)}")
    if len(rows) > _SAMPLE:
        rows = rows[np.sort(np.random.default_rng(seed).choice(len(rows), _SAMPLE, replace=False))]
    rows = rows.astype(np.float64)
    units = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    # Σ‖u‖² instead of n: a row of zeros has no direction and meets itself with cosine 0, not 1.
    met = np.square(units.sum(0)).sum() - np.square(units).sum()
    top_share, effective_rank, shares = None, None, np.zeros(0)
    if np.ptp(rows, axis=0).any():
        variances = np.linalg.svd(rows - rows.mean(0), compute_uv=False) ** 2
        shares = variances / variances.sum()
        top_share, effective_rank = float(shares[0]), float(np.exp(entr(shares).sum()))
    mean_cosine = float(met / (len(rows) * (len(rows) - 1)))
    return Spectrum(mean_cosine, top_share, effective_rank, rows.std(0, ddof=1), shares)
