"""Telling texts of known classes from texts of none: scores of rows, and measures of scores.

Every score is higher for a row of a known class. Pure arithmetic in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial.distance import cdist
from scipy.special import logsumexp, softmax
from scipy.stats import rankdata

from textcl.arithmetic import unit_rows
from textcl.errors import UserError

_ROWS = 1024
"""Rows that are compared with all others at once."""


def energy(logits: Float[np.ndarray, "N C"]) -> Float[np.ndarray, " N"]:
    """Logarithm of Σ exp(logit): the negative energy of each row.

    Args:
        logits: Class logits of N rows.

    Source: Liu et al. 2020, equation 4 at temperature 1, https://arxiv.org/abs/2010.03759
    """
    return np.asarray(logsumexp(np.asarray(logits, np.float64), axis=1))


def max_softmax(logits: Float[np.ndarray, "N C"]) -> Float[np.ndarray, " N"]:
    """Probability of the most probable class, at temperature 1.

    Args:
        logits: Class logits of N rows.

    Source: Hendrycks & Gimpel 2017, https://arxiv.org/abs/1610.02136
    """
    return softmax(np.asarray(logits, np.float64), axis=1).max(1)


def margin(logits: Float[np.ndarray, "N C"]) -> Float[np.ndarray, " N"]:
    """Highest minus second-highest logit: the log-odds of the two most probable classes.

    Args:
        logits: Class logits of N rows, of two classes or more.
    """
    top = np.partition(np.asarray(logits, np.float64), -2, axis=1)[:, -2:]
    return top[:, 1] - top[:, 0]


def class_centres(
    vectors: Float[np.ndarray, "N D"], labels: Int[np.ndarray, " N"]
) -> Float[np.ndarray, "C D"]:
    """Mean vector of each class that has a row, in the order of their ids.

    Args:
        vectors: Of N rows.
        labels: Class id of each row.
    """
    present, places = np.unique(labels, return_inverse=True)
    sums = np.zeros((len(present), vectors.shape[1]))
    np.add.at(sums, places, vectors.astype(np.float64))
    return sums / np.bincount(places)[:, None]


def shrunk_covariance(
    vectors: Float[np.ndarray, "N D"], labels: Int[np.ndarray, " N"]
) -> Float[np.ndarray, "D D"]:
    """Covariance of rows around their class centre, one for all classes, shrunk towards a multiple of the identity.

    It therefore has an inverse for few rows, too.

    Args:
        vectors: Of N rows.
        labels: Class id of each row.

    Source: Ledoit & Wolf 2004, https://doi.org/10.1016/S0047-259X(03)00096-4
    """
    from sklearn.covariance import ledoit_wolf

    return ledoit_wolf(_around_centres(vectors, labels), assume_centered=True)[0]


def _around_centres(
    vectors: Float[np.ndarray, "N D"], labels: Int[np.ndarray, " N"]
) -> Float[np.ndarray, "N D"]:
    places = np.unique(labels, return_inverse=True)[1]
    return vectors.astype(np.float64) - class_centres(vectors, labels)[places]


def mahalanobis(
    vectors: Float[np.ndarray, "N D"],
    centres: Float[np.ndarray, "C D"],
    covariance: Float[np.ndarray, "D D"],
) -> Float[np.ndarray, " N"]:
    """−½ (x − μ)ᵀ Σ⁻¹ (x − μ) for the nearest centre μ.

    Args:
        vectors: Of N rows.
        centres: Of C classes.
        covariance: Σ, positive definite.

    Source: Lee et al. 2018, equation 2 (halved), https://arxiv.org/abs/1807.03888
    """
    # Σ = L Lᵀ: with L⁻¹ x and L⁻¹ μ the distance is Euclidean
    factor = np.linalg.inv(np.linalg.cholesky(covariance.astype(np.float64)))
    means = centres.astype(np.float64) @ factor.T
    rows = vectors.astype(np.float64) @ factor.T
    scores = [-0.5 * cdist(part, means, "sqeuclidean").min(1) for part in _parts(rows)]
    return np.concatenate(scores) if scores else np.zeros(0)


def nearest_cosine(
    vectors: Float[np.ndarray, "N D"], others: Float[np.ndarray, "M D"], k: int
) -> Float[np.ndarray, " N"]:
    """Cosine with the k-th nearest of other vectors; it orders rows as their Euclidean distance on the sphere does.

    Args:
        vectors: Of N rows.
        others: Of rows of known classes.
        k: From 1 to M.

    Source: Sun et al. 2022, https://arxiv.org/abs/2204.06507
    """
    known = unit_rows(others.astype(np.float64)).T
    rows = unit_rows(vectors.astype(np.float64))
    scores = [np.partition(part @ known, -k, axis=1)[:, -k] for part in _parts(rows)]
    return np.concatenate(scores) if scores else np.zeros(0)


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    yield from (rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS))


def auroc(inside: Float[np.ndarray, " N"], outside: Float[np.ndarray, " M"]) -> float:
    """Share of pairs of a row inside and a row outside whose scores are in order; a tie counts one half.

    Args:
        inside: Scores of rows of known classes.
        outside: Scores of rows of none.

    Raises:
        UserError: If a score is not finite, or one side has no rows.
    """
    both = np.concatenate([inside, outside]).astype(np.float64)
    _check(both, len(inside), len(outside))
    above = rankdata(both)[: len(inside)].sum() - len(inside) * (len(inside) + 1) / 2
    return float(above / (len(inside) * len(outside)))


def threshold_keeping(inside: Float[np.ndarray, " N"], share: float) -> float:
    """The highest score that at least a share of the rows reaches.

    Args:
        inside: Scores of N ≥ 1 rows of known classes.
        share: Above 0, up to 1.
    """
    kept = int(np.ceil(share * len(inside) - 1e-9))
    return float(np.sort(inside)[len(inside) - kept])


def fpr_at_recall(
    inside: Float[np.ndarray, " N"], outside: Float[np.ndarray, " M"], recall: float = 0.95
) -> float:
    """Share of rows outside that are accepted where a share of the rows inside is accepted; lower is better.

    Args:
        inside: Scores of rows of known classes.
        outside: Scores of rows of none.
        recall: Share of the rows inside, at least.

    Raises:
        UserError: If a score is not finite, or one side has no rows.

    Source: Liu et al. 2020, section 4, where it is FPR95, https://arxiv.org/abs/2010.03759
    """
    _check(np.concatenate([inside, outside]), len(inside), len(outside))
    return float((outside >= threshold_keeping(inside, recall)).mean())


def balanced_threshold(inside: Float[np.ndarray, " N"], outside: Float[np.ndarray, " M"]) -> float:
    """The threshold with the highest mean of both rates: rows inside accepted, rows outside rejected.

    It lies halfway between the scores that it parts; of equally good ones the lowest is taken, which rejects least.

    Args:
        inside: Scores of rows of known classes.
        outside: Scores of rows of none.

    Raises:
        UserError: If a score is not finite, or one side has no rows.
    """
    values = np.unique(np.concatenate([inside, outside]).astype(np.float64))
    _check(values, len(inside), len(outside))
    cuts = np.concatenate([values[:1], (values[1:] + values[:-1]) / 2])
    accepted = 1 - np.searchsorted(np.sort(inside), cuts) / len(inside)
    rejected = np.searchsorted(np.sort(outside), cuts) / len(outside)
    rates = accepted + rejected
    return float(cuts[np.flatnonzero(rates >= rates.max() - 1e-12)[0]])


def _check(scores: np.ndarray, inside: int, outside: int) -> None:
    if not (inside and outside):
        raise UserError(
            f"telling rows of known classes from others takes both, got {inside} and {outside}"
        )
    if not np.isfinite(scores).all():
        raise UserError("a score is not finite: the model's weights are broken")


@dataclass(frozen=True)
class OutOfScopeResult:
    """Results of a score with a threshold. Shares lie in [0, 1].

    Args:
        auroc: See `auroc`; needs no threshold.
        fpr95: See `fpr_at_recall`; needs no threshold either.
        oos_recall: Rows outside that are rejected.
        in_scope_accuracy: Rows inside that are accepted and whose class is right.
        accepted: Rows inside that are accepted.
    """

    auroc: float
    fpr95: float
    oos_recall: float
    in_scope_accuracy: float
    accepted: float


def score_rejection(
    inside: Float[np.ndarray, " N"],
    right: Bool[np.ndarray, " N"],
    outside: Float[np.ndarray, " M"],
    threshold: float,
) -> OutOfScopeResult:
    """Measure a score with a threshold from which on rows are accepted.

    Args:
        inside: Scores of rows of known classes.
        right: Whether the predicted class of those is the true one.
        outside: Scores of rows of none.
        threshold: Lowest score that is accepted.

    Raises:
        UserError: If a score is not finite, or one side has no rows.

    Source: Larson et al. 2019, section 3.3, for accuracy and recall, https://aclanthology.org/D19-1131
    """
    accepted = inside >= threshold
    return OutOfScopeResult(
        auroc(inside, outside),
        fpr_at_recall(inside, outside),
        float((outside < threshold).mean()),
        float((accepted & right).mean()),
        float(accepted.mean()),
    )
