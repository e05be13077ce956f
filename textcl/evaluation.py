"""What embeddings are worth: correlations with human judgement, and the shape of the cloud they form.

Pure arithmetic on arrays; where the data comes from is the business of `textcl.benchmarks`. Correlations are numpy in
float64; alignment, uniformity, tolerance and relative penalty are torch, keep the gradient and never narrow float64.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Real
from scipy.stats import rankdata
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_BLOCK = 2**22  # entries of a similarity block that exist at one time (32 MiB in float64)


@runtime_checkable
class Encodes(Protocol):
    """Anything that turns texts into rows: an `Encoder`, a SentenceTransformer, a stub."""

    def encode(self, texts: Sequence[str], /) -> Any:
        """Embeddings (N, D) of N texts, in the order given."""
        ...


# Correlation with gold scores -----------------------------------------------------------------------------------------


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


# Geometry with a gradient ---------------------------------------------------------------------------------------------


def _unit_rows(embeddings: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
    """Unit rows in float32 or wider: half precision cannot tell near neighbours apart."""
    wide = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
    return F.normalize(wide, dim=-1, eps=1e-12)


def alignment(
    anchors: Float[Tensor, "N D"], positives: Float[Tensor, "N D"], exponent: float = 2.0
) -> Float[Tensor, ""]:
    """How far apart positive pairs lie on the unit sphere: mean ‖u − u⁺‖^exponent; lower is better.

    Args:
        anchors: Embeddings; need not be normalised.
        positives: Row i belongs to row i of `anchors`.
        exponent: Power of the distance, 2 in the paper.

    Source: Wang & Isola 2020, section 4.1, https://arxiv.org/abs/2005.10242
    """
    distance = torch.linalg.vector_norm(_unit_rows(anchors) - _unit_rows(positives), dim=-1)
    return distance.pow(exponent).mean()


def uniformity(embeddings: Float[Tensor, "N D"], t: float = 2.0) -> Float[Tensor, ""]:
    """How evenly rows cover the unit sphere: ln mean over i < j of exp(−t ‖uᵢ − uⱼ‖²), in [−4t, 0]; lower is better.

    Every unordered pair counts once and no row meets itself. Rows meet in blocks that are computed again for the
    gradient, so memory grows with N and not with its square.

    Args:
        embeddings: Rows; need not be normalised.
        t: Sharpness of the kernel, 2 in the paper.

    Returns:
        The value, NaN with a warning where there is no pair.

    Source: Wang & Isola 2020, section 4.1, https://arxiv.org/abs/2005.10242
    """
    rows = len(embeddings)
    if rows < 2:
        warnings.warn(
            "uniformity of fewer than two rows is undefined", RuntimeWarning, stacklevel=2
        )
        return embeddings.sum() * float("nan")
    units = _unit_rows(embeddings)
    step = max(1, _BLOCK // rows)
    blocks = [
        checkpoint(
            _kernel_block,
            units[start : start + step],
            units[start:],
            t,
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for start in range(0, rows - 1, step)
    ]
    pairs = rows * (rows - 1) / 2
    return torch.logsumexp(torch.stack(blocks), 0) - torch.tensor(pairs, dtype=units.dtype).log()


def _kernel_block(
    block: Float[Tensor, "R D"], rest: Float[Tensor, "M D"], t: float
) -> Float[Tensor, ""]:
    """Log-sum over the pairs of `block` with the rows after each; `rest` starts with the block itself."""
    with torch.autocast(block.device.type, enabled=False):
        squared = block.square().sum(1)[:, None] + rest.square().sum(1) - 2 * block @ rest.mT
    later = torch.ones_like(squared, dtype=torch.bool).triu(1)
    return torch.logsumexp(torch.where(later, -t * squared.clamp(min=0), -torch.inf).flatten(), 0)


def tolerance(
    embeddings: Float[Tensor, "N D"],
    labels: Int[Tensor, " N"],
    kind: Literal["conditional", "joint"] = "conditional",
) -> Float[Tensor, ""]:
    """How close rows of one class stay: mean cosine over pairs of rows with equal labels.

    Args:
        embeddings: Rows; need not be normalised.
        labels: Class of every row.
        kind: `"conditional"` averages over the pairs of one class; `"joint"`, the formula as printed, over all pairs,
            where pairs of two classes count 0. Report either with the class prior: joint = conditional × share of
            pairs of one class.

    Returns:
        The value, NaN with a warning where there is no pair to average over.

    Source: Wang & Liu 2021, section 4.3, https://arxiv.org/abs/2012.09740
    """
    units = _unit_rows(embeddings)
    classes, index = torch.unique(labels, return_inverse=True)
    sums = units.new_zeros(len(classes), units.shape[1]).index_add(0, index, units)
    counts = torch.bincount(index, minlength=len(classes)).to(units.dtype)
    # Σ over ordered pairs i ≠ j of one class = ‖Σu‖² − Σ‖u‖², so no table of pairs is needed.
    total = sums.square().sum() - units.square().sum()
    rows = float(len(units))
    pairs = (counts * (counts - 1)).sum() if kind == "conditional" else rows * (rows - 1)
    if float(pairs) == 0:
        warnings.warn(f"{kind} tolerance has no pair to average over", RuntimeWarning, stacklevel=2)
        return total * float("nan")
    return total / pairs


def relative_penalty(
    similarities: Float[Tensor, "*anchors M"], temperature: float
) -> Float[Tensor, "*anchors M"]:
    """How an InfoNCE loss shares its push among the negatives: softmax(similarities / temperature).

    Args:
        similarities: Cosine of each anchor with its M negatives; −inf marks a candidate that is no negative.
        temperature: Temperature of the loss, > 0.

    Returns:
        A distribution over the negatives of every anchor; zeros where an anchor has none.

    Source: Wang & Liu 2021, section 3.2, https://arxiv.org/abs/2012.09740
    """
    logits = similarities.to(torch.promote_types(similarities.dtype, torch.float32)) / temperature
    lonely = torch.isneginf(logits).all(-1, keepdim=True)
    return torch.softmax(logits.masked_fill(lonely, 0.0), -1).masked_fill(lonely, 0.0)


def entropy(
    distribution: Float[Tensor, "*rows M"], unit: Literal["nats", "bits"] = "nats"
) -> Float[Tensor, "*rows"]:
    """Entropy of the distributions in the last dimension, with 0 · log 0 = 0."""
    nats = torch.special.entr(distribution).sum(-1)
    return nats if unit == "nats" else nats / torch.log(torch.tensor(2.0, dtype=nats.dtype))
