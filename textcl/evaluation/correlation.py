"""Correlations of similarities with human judgement, aggregated as SentEval does.

Pure arithmetic in float64; where the data comes from is the business of `textcl.evaluation.benchmarks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Real
from scipy.stats import rankdata


@dataclass(frozen=True)
class Correlation:
    """Both coefficients of the same pairs, in [-1, 1]; None where a coefficient is undefined."""

    spearman: float | None
    pearson: float | None
    pairs: int


@dataclass(frozen=True)
class StsResult:
    """Coefficients of one data set under the three aggregations of SentEval.

    Args:
        subsets: Every subset on its own.
        all: One coefficient over the pairs of all subsets together.
        mean: Plain mean over subsets.
        wmean: Mean over subsets weighted by their scored pairs.
    """

    subsets: dict[str, Correlation]
    all: Correlation
    mean: Correlation
    wmean: Correlation

    def aggregate(self, aggregation: str) -> Correlation:
        """The coefficient under `"all"`, `"mean"` or `"wmean"`."""
        return {"all": self.all, "mean": self.mean, "wmean": self.wmean}[aggregation]


def pearson(a: Real[np.ndarray, " N"], b: Real[np.ndarray, " N"]) -> float | None:
    """Pearson correlation in float64.

    Returns:
        A coefficient in [-1, 1], or None where it is undefined: fewer than two pairs, constant or non-finite values.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if len(x) < 2 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    # Scaled before and after centring, so that neither huge nor tiny values leave the range of a float.
    x, y = (_unit(v / np.abs(v).max()) for v in (x, y))
    return float(np.clip(x @ y, -1.0, 1.0))


def _unit(values: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    centred = values - values.mean()
    centred = centred / np.abs(centred).max()
    return centred / np.linalg.norm(centred)


def spearman(a: Real[np.ndarray, " N"], b: Real[np.ndarray, " N"]) -> float | None:
    """Spearman rank correlation; ties get the average of their ranks.

    Returns:
        A coefficient in [-1, 1], or None where it is undefined: fewer than two pairs, constant or non-finite values.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    return pearson(rankdata(x), rankdata(y))


def pair_scores(a: Real[np.ndarray, "N D"], b: Real[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
    """Cosine similarity of row i of `a` with row i of `b`, in float64.

    A row of zeros has no direction: its cosine is NaN, which SentEval counts as 0.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(np.einsum("nd,nd->n", x, y) / norms, nan=0.0)


def sts_aggregate(
    similarities: Float[np.ndarray, " N"],
    gold: Float[np.ndarray, " N"],
    subsets: Sequence[str] | None = None,
) -> StsResult:
    """Correlations of predicted with gold similarity, by subset and aggregated.

    Args:
        similarities: One predicted similarity a pair.
        gold: Human scores in any monotone unit; NaN marks a blank line, whose pair is dropped.
        subsets: Subset of every pair; one nameless subset when None, which leaves `mean` and `wmean` equal to `all`.

    Returns:
        Coefficients of every subset and of the three aggregations. An aggregation over a subset without a defined
        coefficient is itself undefined.

    Source: SentEval as SimCSE uses it, Gao et al. 2021, appendix B, https://arxiv.org/abs/2104.08821
    """
    names = np.asarray(subsets if subsets is not None else [""] * len(gold), dtype=object)
    scored = ~np.isnan(gold)
    parts: dict[str, Correlation] = {}
    for name in dict.fromkeys(names.tolist()):
        chosen = scored & (names == name)
        parts[name] = _correlate(similarities[chosen], gold[chosen])
    counts = [part.pairs for part in parts.values()]
    return StsResult(
        parts,
        _correlate(similarities[scored], gold[scored]),
        _average(parts, [1] * len(parts)),
        _average(parts, counts),
    )


def _correlate(similarities: Float[np.ndarray, " N"], gold: Float[np.ndarray, " N"]) -> Correlation:
    return Correlation(spearman(similarities, gold), pearson(similarities, gold), len(gold))


def _average(parts: dict[str, Correlation], weights: Sequence[int]) -> Correlation:
    pairs = sum(part.pairs for part in parts.values())

    def weighted(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        if len(known) < len(values) or sum(weights) == 0:
            return None
        return float(np.average(known, weights=weights))

    return Correlation(
        weighted([part.spearman for part in parts.values()]),
        weighted([part.pearson for part in parts.values()]),
        pairs,
    )
