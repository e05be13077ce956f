"""Numbers of a probe: the shape of one space, in single numbers, histograms and bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class SpaceNumbers:
    """The shape of a space in single numbers; None where the texts do not define one.

    Args:
        spearman: × 100, of cosines with gold scores.
        alignment: Mean squared distance of positive pairs.
        uniformity: ln mean e^(-2·squared distance) over all pairs of texts, repeated texts included.
        tolerance: Mean cosine of pairs of one class.
        tolerance_joint: The same counting other pairs as 0.
        mean_cosine: Over all pairs: anisotropy.
        top_share: Share of the strongest direction of variance.
        effective_rank: e^entropy of the shares of variance.
    """

    spearman: float | None = None
    alignment: float | None = None
    uniformity: float | None = None
    tolerance: float | None = None
    tolerance_joint: float | None = None
    mean_cosine: float | None = None
    top_share: float | None = None
    effective_rank: float | None = None

    def numbers(self) -> SpaceNumbers:
        """These numbers alone."""
        return SpaceNumbers(
            **{each.name: getattr(self, each.name) for each in fields(SpaceNumbers)}
        )


@dataclass(frozen=True)
class Band:
    """Cosines of the pairs whose gold score lies in one range.

    Args:
        low: Lowest gold score.
        high: Gold score above all of them, except in the last band.
        pairs: How many there are.
        mean: Mean cosine; None where there is no pair.
        std: Standard deviation (n − 1); None for fewer than two pairs.
        histogram: Counts in equal bins over [-1, 1].
    """

    low: float
    high: float
    pairs: int
    mean: float | None
    std: float | None
    histogram: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Space(SpaceNumbers):
    """The shape of a space, with its spectrum and histograms.

    Args:
        dimensions: Length of the vectors.
        spectrum: Shares of variance, highest first, at most 512.
        histograms: Counts of cosines in equal bins over [-1, 1] by kind of pair: "positives", "random", and "hardest",
            each text with the nearest that is neither equal nor its positive (nor of its class).
        score_means: Mean cosine by kind of pair.
        bands: Cosines by gold score.
    """

    dimensions: int
    spectrum: Sequence[float]
    histograms: Mapping[str, Sequence[int]]
    score_means: Mapping[str, float | None]
    bands: Sequence[Band]
