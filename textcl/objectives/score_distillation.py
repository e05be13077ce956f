"""Distillation from stored scores: similarities of an anchor's candidates, made like the scores of a reranker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from textcl.arithmetic import unit, widen
from textcl.contrast.temperature import positive as checked_positive
from textcl.distributed import ALONE, World
from textcl.objectives.weights import row_weights, weighted
from textcl.types import ABSENT, Batch, Embeddings, LossOutput


class DistillScores(nn.Module):
    """Similarities of an anchor to its positive and negatives, made like a teacher's scores T of the same texts.

    - "margin-mse": mean over rows i and negatives k of ((s_i⁺ - s_ik) - (T_i⁺ - T_ik))²
    - "kl": τ² · mean over rows i of KL(softmax_c(T_ic / τ_T) ‖ softmax_c(s_ic / τ)), c over positive and negatives

    The scores come with the rows as "scores": that of the positive, then those of its negatives. A negative of identity
    `ABSENT`, or without a score, counts for nothing.

    Args:
        measure: One of them.
        names: Anchor, positive, and the negatives.
        cosine: Whether similarities are cosines; dot products otherwise.
        temperature: τ > 0, of "kl" only.
        teacher_temperature: τ_T > 0, of "kl" only.
        world: The processes that train together.

    Source: Hofstätter et al. 2020, https://arxiv.org/abs/2010.02666 (margin MSE); Lin et al. 2020,
        https://arxiv.org/abs/2010.11386 (KL)
    """

    def __init__(
        self,
        measure: Literal["margin-mse", "kl"] = "margin-mse",
        *,
        names: Sequence[str] = ("anchor", "positive", "negative"),
        cosine: bool = False,
        temperature: float = 1.0,
        teacher_temperature: float = 1.0,
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.measure, self.names, self.cosine, self.world = measure, tuple(names), cosine, world
        self.temperature = checked_positive(temperature)
        self.teacher_temperature = checked_positive(teacher_temperature)

    def items(self, batch: Batch, views: Mapping[str, str]) -> float:
        """Margins or rows of a batch, times their weights; see `Counted`."""
        weights = row_weights(batch)
        if self.measure == "kl":
            return float(weights.sum())
        texts = torch.stack([batch.groups[views[name]] != ABSENT for name in self.names[1:]], 1)
        present = texts & ~_as_wide(batch.given["scores"], texts.shape[1]).isnan()
        return float(((present[:, 1:] & present[:, :1]).sum(1) * weights).sum())

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the batch."""
        similarity, scores, present = self._candidates(z)
        measure = self._margins if self.measure == "margin-mse" else self._divergences
        values, counts = measure(similarity, scores, present)
        terms = {"candidates": present.to(values.dtype).sum(1).mean().detach()}
        values, counts = weighted(z, values, counts)
        return LossOutput(self.world.mean(values, counts, z.items.get(self)), terms)

    def _candidates(
        self, z: Embeddings
    ) -> tuple[Float[Tensor, "B C"], Float[Tensor, "B C"], Bool[Tensor, "B C"]]:
        """Similarities and scores of the candidates, 0 where there is none, and which there are."""
        scaled = unit if self.cosine else widen
        anchor, *candidates = (scaled(z[name]) for name in self.names)
        similarity = torch.stack([(anchor * x).sum(1) for x in candidates], 1)
        scores = _as_wide(z.numbers("scores").detach().to(similarity), len(candidates))
        texts = torch.stack([z.group(name) != ABSENT for name in self.names[1:]], 1)
        present = texts & ~scores.isnan()
        zero = torch.zeros_like(similarity)
        return torch.where(present, similarity, zero), torch.where(present, scores, zero), present

    def _margins(
        self, similarity: Tensor, scores: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor]:
        counted = (present[:, 1:] & present[:, :1]).to(similarity.dtype)
        mine, taught = (x[:, :1] - x[:, 1:] for x in (similarity, scores))
        return ((mine - taught).square() * counted).sum(1), counted.sum(1)

    def _divergences(
        self, similarity: Tensor, scores: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor]:
        lowest = torch.finfo(similarity.dtype).min
        mine = (similarity / self.temperature).masked_fill(~present, lowest).log_softmax(1)
        taught = (scores / self.teacher_temperature).masked_fill(~present, lowest).softmax(1)
        entropy = torch.special.entr(taught).sum(1)
        crossed = torch.where(present, taught * mine, 0.0).sum(1)
        values = -(self.temperature**2) * (crossed + entropy)
        return values, torch.ones_like(values)


def _as_wide(scores: Float[Tensor, "B S"], width: int) -> Float[Tensor, "B C"]:
    """Scores of as many candidates, NaN for those that have none."""
    scores = scores[:, :width]
    return nn.functional.pad(scores, (0, width - scores.shape[1]), value=torch.nan)
