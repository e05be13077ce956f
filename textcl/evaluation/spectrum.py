"""Anisotropy of a cloud of embeddings: along how many directions it spreads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Real
from scipy.special import entr

from textcl.arithmetic import unit_rows
from textcl.errors import UserError

_SAMPLE = 10_000  # rows above which the spectrum is taken from a sample


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
    units = unit_rows(rows)
    # Σ‖u‖² instead of n: a row of zeros has no direction and meets itself with cosine 0, not 1.
    met = np.square(units.sum(0)).sum() - np.square(units).sum()
    top_share, effective_rank, shares = None, None, np.zeros(0)
    if np.ptp(rows, axis=0).any():
        variances = np.linalg.svd(rows - rows.mean(0), compute_uv=False) ** 2
        shares = variances / variances.sum()
        top_share, effective_rank = float(shares[0]), float(np.exp(entr(shares).sum()))
    mean_cosine = float(met / (len(rows) * (len(rows) - 1)))
    return Spectrum(mean_cosine, top_share, effective_rank, rows.std(0, ddof=1), shares)
