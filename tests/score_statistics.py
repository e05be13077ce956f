"""What each anchor's scores look like after mixing, as the paper on feature transformation plots them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from textcl.contrast.table import Contrast


@torch.no_grad()
def score_statistics(
    contrast: Contrast, temperature: float | Tensor
) -> dict[str, Float[Tensor, " A"]]:
    """What each anchor's scores look like after mixing, for the log.

    Returns:
        By anchor: mean and unbiased variance of its negatives' scores (NaN for one negative), score of its positive,
        mean of e^(score/temperature) over negatives, the same of its positive, and the weight of its negatives in the
        gradient, Σ P over negatives.

    Source: Zhu et al. 2021, https://arxiv.org/abs/2108.02982
    """
    rows = torch.arange(len(contrast.anchors), device=contrast.anchors.device)
    scores, block = contrast.similarity(rows), contrast.block(rows, temperature)
    negatives, count = block.negatives, block.negatives.sum(1)
    zero = torch.zeros_like(scores)
    mean = torch.where(negatives, scores, zero).sum(1) / count
    squares = torch.where(negatives, scores - mean[:, None], zero).square().sum(1)
    positive = (scores * block.targets).sum(1)
    exponentials = torch.where(negatives, (scores / temperature).exp(), zero).sum(1)
    return {
        "negative_mean": mean,
        "negative_variance": squares / (count - 1),
        "positive": positive,
        "negative_exp_mean": exponentials / count,
        "positive_exp": (positive / temperature).exp(),
        "negative_gradient_weight": torch.where(negatives, block.logits.softmax(1), zero).sum(1),
    }
