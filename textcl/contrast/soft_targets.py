"""Adaptive soft contrastive learning: neighbours of the key take part of the target's mass.

Source: Feng & Patras 2022, https://arxiv.org/abs/2207.11163
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from textcl.arithmetic import unit
from textcl.contrast.table import Contrast
from textcl.types import Embeddings

Softening = Literal["ascl", "ahcl", "hard", "normal"]
"""Weight of neighbour j of key i beside the positive's 1, with p the softmax over neighbours, c = 1 - H(p)/ln M its
confidence and K neighbours asked for: min(1, c·K·p_j), c if among the K nearest, 1 if among the K nearest, nothing."""


@torch.no_grad()
def soft_labels(
    similarity: Float[Tensor, "r M"],
    visible: Bool[Tensor, "r M"],
    softening: Softening,
    temperature: float,
    neighbours: int,
) -> Float[Tensor, "r M"]:
    """Weight of each neighbour of a key as its positive, before the weights are scaled to sum to 1.

    Args:
        similarity: Of keys with their neighbours.
        visible: Which neighbours there are.
        softening: The rule.
        temperature: Of the softmax over neighbours, τ'.
        neighbours: K.

    Note:
        With one neighbour or none ln M is 0 and the official code gives NaN; here the confidence is 0. Of equally near
        neighbours the first counts.
    """
    if softening == "normal":
        return torch.zeros_like(similarity)
    masked = similarity.masked_fill(~visible, -math.inf)
    order = masked.argsort(dim=1, descending=True, stable=True)[:, :neighbours]
    nearest = torch.zeros_like(similarity).scatter(1, order, 1.0) * visible
    if softening == "hard":
        return nearest
    count = visible.sum(1, keepdim=True)
    share = torch.softmax(torch.where(count > 0, masked / temperature, 0.0), 1) * visible
    entropy = torch.special.entr(share).sum(1, keepdim=True)
    spread = count.clamp(min=2).to(share.dtype).log()
    confidence = torch.where(count > 1, (1 - entropy / spread).clamp(min=0), 0.0)
    if softening == "ahcl":
        return confidence * nearest
    return (confidence * neighbours * share).clamp(max=1)


@dataclass(frozen=True)
class SoftQueueTargets:
    """Makes the queue's keys that are near an anchor's key its targets too. Comes after `AppendQueue`.

    Targets are the positive with 1 and the queue with `soft_labels`, divided by their sum; they carry no gradient.

    Args:
        softening: How neighbours are weighed.
        temperature: Of the softmax over the queue, τ'.
        neighbours: Number of neighbours K.
        key: Name of the embeddings compared with the queue, a row for each anchor; the anchors' positives when None.

    Source: Feng & Patras 2022, https://arxiv.org/abs/2207.11163

    Note:
        Columns that the table hides, such as masked duplicates, take nothing. M is the number of keys in the queue.
    """

    softening: Softening = "ascl"
    temperature: float = 0.05
    neighbours: int = 1
    key: str | None = None

    def __call__(self, contrast: Contrast, z: Embeddings) -> Contrast:
        """The table with soft targets; the same table while the queue is empty."""
        if not contrast.queued:
            return contrast
        if self.key is not None:
            keys = unit(z[self.key])
        elif isinstance(contrast.targets, Tensor):
            keys = contrast.candidates[contrast.targets]
        else:
            raise ValueError("SoftQueueTargets needs key=…, because anchors have several positives")
        first = len(contrast.candidates) - contrast.queued
        keys, queue = keys.detach(), contrast.candidates[first:].detach()

        @torch.no_grad()
        def targets(rows: Tensor) -> Tensor:
            with torch.autocast(keys.device.type, enabled=False):
                similarity = keys[rows] @ queue.T
            visible = torch.ones_like(similarity, dtype=torch.bool)
            for rule in contrast.log_weights:
                visible &= ~torch.isneginf(rule(rows)[:, first:])
            labels = soft_labels(
                similarity, visible, self.softening, self.temperature, self.neighbours
            )
            weights = contrast.target_weights(rows)
            weights[:, first:] += labels * weights.sum(1, keepdim=True)
            return weights / weights.sum(1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)

        return replace(contrast, targets=targets)
