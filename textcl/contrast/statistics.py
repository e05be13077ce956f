"""Statistics of a table and of the push of its loss, taken whenever a line of the log is written.

An objective over a table passes its table on; nothing here is computed in the updates between two lines. Large tables
are read from their first block of anchors. Keys of `metrics.jsonl`, any of which is null where it is undefined:

    statistics/anchors           anchors in the sample, over all processes
    scores/positive_mean         over positive pairs; scores are dot products of what the loss compares: cosines, but
    scores/positive_variance     for feature transformation, which leaves the sphere; variances are unbiased
    scores/negative_mean         mean and variance over the negatives of an anchor, a mean over anchors
    scores/negative_variance
    scores/hardest_negative      the highest score of a negative, a mean over anchors
    scores/cosines               share of the anchors whose scores are cosines: they and all candidates have length 1
    scores/positive_histogram    pairs in 40 equal bins from -1 to 1; the outer bins also hold what lies beyond them
    scores/negative_histogram
    penalty/gradient_weight      how hard the negatives of an anchor are pushed, temperature · Σ_neg ∂loss/∂score, a
                                 mean over anchors: Σ_neg P for InfoNCE
    penalty/entropy              nats, of how this push is shared among the negatives of an anchor (relative penalty)
    penalty/effective_negatives  e^entropy, a mean over anchors
    penalty/saturated_rows       share of anchors with a gradient weight below 0.01, which have next to nothing to learn
    masked                       candidates taken out for their text, a mean over anchors
    masked_rows                  share of anchors with such a candidate
    dimension_std/mean           standard deviation of the unit embeddings by dimension: 1/√D where they point anywhere
    dimension_std/quantiles      its minimum, 10, 25, 50, 75, 90 % quantile, and maximum over dimensions

Source: Wang & Liu 2021, https://arxiv.org/abs/2012.09740; Zhu et al. 2021,
https://arxiv.org/abs/2108.02982
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from textcl.arithmetic import unit
from textcl.contrast.table import Block, Contrast, RowLoss
from textcl.distributed import ALONE, World
from textcl.types import Embeddings, Statistics

SAMPLE = 2**19
"""Pairs of anchor and candidate that are looked at; of a larger table, its first anchors (at least one)."""

BINS = 40
"""Bins of a histogram over [-1, 1]."""

SATURATED = 0.01
"""Gradient weight on negatives below which a row counts as saturated."""

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


@torch.no_grad()
def table_statistics(
    contrast: Contrast,
    temperature: float | Tensor,
    row_loss: RowLoss | None = None,
    world: World = ALONE,
) -> Statistics:
    """Scores of a table, and the push of a loss over it.

    Args:
        contrast: The table after all transforms.
        temperature: What divides its similarities.
        row_loss: The loss of a row; without it the push is not measured.
        world: The processes that train together, all of which must call it.

    Returns:
        Numbers and histograms by the names above; None where a number is undefined.
    """
    size = max(1, SAMPLE // max(1, len(contrast.candidates)))
    rows = torch.arange(len(contrast.anchors), device=contrast.anchors.device)[:size]
    block = contrast.block(rows, temperature)
    paired = (block.targets > 0) & ~torch.isneginf(block.logits)
    nobodys = torch.isneginf(block.logits).all(0)
    unit_candidates = (_unit_rows(contrast.candidates) | nobodys).all()
    means = _scores(block.similarity, paired, block.negatives)
    means |= {"scores/cosines": (_unit_rows(contrast.anchors[rows]) & unit_candidates, None)}
    if row_loss is not None:
        means |= _penalty(block, row_loss)
    if contrast.masked is not None:
        hidden = contrast.masked(rows).sum(1)
        means |= {"masked": (hidden, None), "masked_rows": (hidden > 0, None)}
    positive = block.similarity[paired].double()
    moments = torch.stack([positive.new_tensor(len(positive)), positive.sum(), positive @ positive])
    sums = [torch.stack(_sum_and_count(*pair)) for pair in means.values()]
    counts = [histogram(block.similarity, which) for which in (paired, block.negatives)]
    looked_at = moments.new_tensor([len(rows)])
    # one reduction over processes and one wait for the device
    total = world.sum(torch.cat([looked_at, moments, *counts, *sums])).tolist()
    head, bins, rest = total[:4], total[4 : 4 + 2 * BINS], total[4 + 2 * BINS :]
    named = zip(means, rest[::2], rest[1::2], strict=True)
    return {
        "statistics/anchors": int(head[0]),
        **_moments(*head[1:]),
        **{name: _number(value / count if count else math.nan) for name, value, count in named},
        "scores/positive_histogram": [int(n) for n in bins[:BINS]],
        "scores/negative_histogram": [int(n) for n in bins[BINS:]],
    }


def _unit_rows(x: Float[Tensor, "N D"]) -> Bool[Tensor, " N"]:
    return (x.norm(dim=-1) - 1).abs() < 0.01


Averaged = dict[str, tuple[Tensor, Tensor | None]]
"""By name: a value of each anchor, and which anchors count (all where None)."""


def _scores(
    similarity: Float[Tensor, "r C"], paired: Bool[Tensor, "r C"], negatives: Bool[Tensor, "r C"]
) -> Averaged:
    count = negatives.sum(1)
    zero = torch.zeros_like(similarity)
    mean = torch.where(negatives, similarity, zero).sum(1) / count.clamp(min=1)
    squares = torch.where(negatives, similarity - mean[:, None], zero).square().sum(1)
    hardest = similarity.masked_fill(~negatives, -math.inf).amax(1)
    return {
        "scores/negative_mean": (mean, count > 0),
        "scores/negative_variance": (squares / (count - 1).clamp(min=1), count > 1),
        "scores/hardest_negative": (hardest, count > 0),
    }


def _penalty(block: Block, row_loss: RowLoss) -> Averaged:
    gradient, counted = gradient_weights(block, row_loss)
    contested = counted & block.negatives.any(1)
    against = torch.where(block.negatives, gradient, 0.0)
    weight = against.sum(1)
    push = against.clamp(min=0)
    pushed = contested & (push.sum(1) > 0)
    share = push / torch.where(pushed, push.sum(1), 1.0)[:, None]
    entropy = torch.special.entr(share).sum(1)
    return {
        "penalty/gradient_weight": (weight, contested),
        "penalty/entropy": (entropy, pushed),
        "penalty/effective_negatives": (entropy.exp(), pushed),
        "penalty/saturated_rows": (weight < SATURATED, contested),
    }


def gradient_weights(
    block: Block, row_loss: RowLoss
) -> tuple[Float[Tensor, "r C"], Bool[Tensor, " r"]]:
    """The push on every pair, temperature · ∂loss/∂similarity in float64, and which anchors the loss counts.

    For InfoNCE this is P of a negative and -Σ_neg P of the positive. Float64, because at a low
    temperature the shares of what is hardly pushed would be lost in rounding.
    """
    temperature = torch.as_tensor(block.temperature).detach().double()
    similarity = block.similarity.detach().double()
    weights = block.logits.detach().double() - similarity / temperature
    with torch.enable_grad():
        similarity.requires_grad_()
        wide = replace(
            block,
            logits=similarity / temperature + weights,
            targets=block.targets.detach().double(),
            similarity=similarity,
            temperature=temperature,
        )
        values, counts = row_loss(wide)
        if not values.requires_grad:
            return torch.zeros_like(similarity), counts > 0
        (gradient,) = torch.autograd.grad(values.sum(), similarity)
    return temperature * gradient / counts.detach().clamp(min=1)[:, None], counts.detach() > 0


def histogram(values: Float[Tensor, "*shape"], which: Bool[Tensor, "*shape"]) -> Tensor:
    """Counts of the chosen values in `BINS` equal bins over [-1, 1], as float64.

    The outer bins also hold what lies beyond them.
    """
    bins = ((values + 1) * (BINS / 2)).floor().clamp(0, BINS - 1).long()
    chosen = torch.where(which, bins, BINS).flatten()
    return torch.bincount(chosen, minlength=BINS + 1)[:BINS].double()


def _sum_and_count(values: Tensor, which: Tensor | None) -> tuple[Tensor, Tensor]:
    wide = values.double()
    if which is None:
        return wide.sum(), wide.new_tensor(len(wide))
    return torch.where(which, wide, 0.0).sum(), which.double().sum()


def _moments(count: float, total: float, squares: float) -> Statistics:
    mean = total / count if count else math.nan
    variance = max(0.0, squares - count * mean**2) / (count - 1) if count > 1 else math.nan
    return {"scores/positive_mean": _number(mean), "scores/positive_variance": _number(variance)}


@torch.no_grad()
def dimension_spread(z: Embeddings, name: str, world: World = ALONE) -> Statistics:
    """Standard deviation of the unit rows of `z[name]` in every dimension, in brief.

    Args:
        z: Embeddings of this process.
        name: Which of them.
        world: The processes that train together, all of which must call it.
    """
    x = unit(z[name]).double()
    count = world.sum(x.new_tensor(len(x)))
    mean = world.sum(x.sum(0)) / count
    deviations = (world.sum((x - mean).square().sum(0)) / count).sqrt()
    spread = torch.quantile(deviations, deviations.new_tensor(QUANTILES))
    average, *quantiles = torch.cat([deviations.mean()[None], spread]).tolist()
    return {
        "dimension_std/mean": _number(average),
        "dimension_std/quantiles": [float(f"{x:.4g}") for x in quantiles],
    }


def _number(value: float) -> float | None:
    """Six significant digits; None for what is not finite."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
