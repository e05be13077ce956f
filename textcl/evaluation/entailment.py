"""Separation of related from unrelated pairs by their similarity."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from textcl.errors import UserError

_DIGITS = (
    12  # cosines that differ only beyond are equal: the same pair may be summed in another order
)


def entailment_auc(
    cosines: Float[np.ndarray, " N"], entailed: Bool[np.ndarray, " N"]
) -> float | None:
    """Share of (entailed, not entailed) pairs in the right order; a tie counts one half.

    Args:
        cosines: Similarity of every pair, compared after rounding to 12 decimals.
        entailed: Whether the sentence answers the question.

    Returns:
        The area under the ROC curve, in [0, 1]; None where one of the two classes is missing.

    Raises:
        UserError: If a similarity is not finite.

    Source: Liu et al. 2021, section 4, https://aclanthology.org/2021.emnlp-main.109
    """
    if not np.isfinite(cosines).all():
        raise UserError(
            "a similarity is not finite: the area under the curve orders finite values only"
        )
    positives = int(entailed.sum())
    negatives = len(entailed) - positives
    if not (positives and negatives):
        return None
    ranks = rankdata(np.round(cosines.astype(np.float64), _DIGITS))
    above = ranks[entailed].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))
