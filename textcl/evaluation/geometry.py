"""The shape of a cloud of embeddings: alignment, uniformity, tolerance and entropy."""

from __future__ import annotations

import warnings
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from textcl.arithmetic import unit

_BLOCK = 2**22  # entries of a similarity block that exist at one time (32 MiB in float64)


def alignment(
    anchors: Float[Tensor, "N D"], positives: Float[Tensor, "N D"], exponent: float = 2.0
) -> Float[Tensor, ""]:
    """Distance of positive pairs on the unit sphere: mean ‖u − u⁺‖^exponent; lower is better.

    Args:
        anchors: Embeddings; need not be normalised.
        positives: Row i belongs to row i of `anchors`.
        exponent: Power of the distance, 2 in the paper.

    Source: Wang & Isola 2020, section 4.1, https://arxiv.org/abs/2005.10242
    """
    distance = torch.linalg.vector_norm(unit(anchors) - unit(positives), dim=-1)
    return distance.pow(exponent).mean()


def uniformity(embeddings: Float[Tensor, "N D"], t: float = 2.0) -> Float[Tensor, ""]:
    """Spread of rows over the unit sphere: ln mean over i < j of exp(−t ‖uᵢ − uⱼ‖²), in [−4t, 0]; lower is better.

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
    units = unit(embeddings)
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
    """Closeness of rows of one class: mean cosine over pairs of rows with equal labels.

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
    units = unit(embeddings)
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


def entropy(
    distribution: Float[Tensor, "*rows M"], unit: Literal["nats", "bits"] = "nats"
) -> Float[Tensor, "*rows"]:
    """Entropy of the distributions in the last dimension, with 0 · log 0 = 0."""
    nats = torch.special.entr(distribution).sum(-1)
    return nats if unit == "nats" else nats / torch.log(torch.tensor(2.0, dtype=nats.dtype))
