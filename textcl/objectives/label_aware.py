"""Label-aware contrastive loss: negatives count more when their class is one the anchor is confused with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from textcl.arithmetic import widen
from textcl.contrast.pairings import AllViews
from textcl.contrast.row_losses import softmax, times_own_weight
from textcl.contrast.statistics import table_statistics
from textcl.contrast.table import Contrast, Rule
from textcl.contrast.temperature import Temperature, checked, current
from textcl.contrast.transforms import Transform, lay_out
from textcl.distributed import ALONE, World
from textcl.objectives.contrastive import (
    NoPositive,
    log_terms,
    lonely_terms,
    mean_over_anchors,
)
from textcl.types import Embeddings, LossOutput

LabelAwareVariant = Literal["official", "paper"]


class LabelAware(nn.Module):
    """SupCon whose candidates are weighed by how plausible a weighting network finds their class for the anchor.

    With w_i the softmax of the weighting network's class logits for row i:
        paper     l_i = -mean_p ln( w_i[y_i] e^s_ip / Σ_{k≠i} w_i[y_k] e^s_ik )
        official  l_i = -mean_p w_i[y_i] ln( e^s_ip / Σ_{k≠i} w_i[y_k] e^s_ik )

    With multi-hot labels a candidate weighs the mean confidence in its labels (all labels, where it has none), and
    positives are weighed by shared labels as `AllViews` does; equal to the above where every row has one label.

    Args:
        temperature: Number > 0, or a module that returns one.
        names: The views, all of them anchors and candidates.
        weighers: Embeddings that hold each view's class logits, in the order of `names`.
        head: Makes the class logits of what `weighers` names, where they are not logits already.
        variant: "official" is the authors' code, which their numbers come from; "paper" the printed formula.
        detach_weights: No gradient reaches the weighting network from here.
        no_positive: What an anchor without a positive does; the authors' code: "nan".
        transforms: Applied to the weighed table, left to right.
        world: The processes that train together.

    Source: Suresh & Ong 2021, https://arxiv.org/abs/2109.05427

    Note: The paper sums over anchors, the code takes the mean, and so do both variants here. The official loss can be
        negative.
    """

    def __init__(
        self,
        temperature: Temperature,
        names: Sequence[str] = ("anchor", "positive"),
        weighers: Sequence[str] = ("weigher_anchor", "weigher_positive"),
        head: nn.Module | None = None,
        *,
        variant: LabelAwareVariant = "official",
        detach_weights: bool = False,
        no_positive: NoPositive = "skip",
        transforms: Sequence[Transform] = (),
        world: World = ALONE,
    ) -> None:
        super().__init__()
        if len(names) != len(weighers):
            raise ValueError(
                f"every view needs its weigher: {list(names)} against {list(weighers)}"
            )
        self.temperature, self.weighers = checked(temperature), tuple(weighers)
        self.pairing, self.transforms = AllViews(names, same="labels"), tuple(transforms)
        self.head = nn.Identity() if head is None else head
        self.row_loss = softmax if variant == "paper" else times_own_weight
        self.no_positive: NoPositive = no_positive
        self.detach_weights, self.world = detach_weights, world

    def table(self, z: Embeddings) -> Contrast:
        """The table that the loss reads."""
        return lay_out(z, self.pairing, (self.weigh, *self.transforms), self.world)

    def weigh(self, contrast: Contrast, z: Embeddings) -> Contrast:
        """A transform that adds to each logit ln of the anchor's confidence in the candidate's class."""
        assert contrast.candidate_labels is not None
        return contrast.weighted(class_weights(self.log_confidences(z), contrast.candidate_labels))

    def log_confidences(self, z: Embeddings) -> Float[Tensor, "A classes"]:
        """Log-softmax of the weighting network's class logits, one row for every anchor."""
        with torch.autocast(z.rows.device.type, enabled=False):
            logits = torch.cat([self.head(widen(z[name])) for name in self.weighers])
            log_confidences = torch.log_softmax(logits, 1)
        return log_confidences.detach() if self.detach_weights else log_confidences

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the batch."""
        contrast, temperature = self.table(z), current(self.temperature)
        values, counts = contrast.reduce(self.row_loss, temperature)
        loss = mean_over_anchors(values, counts, self.no_positive, self.world)
        return LossOutput(
            loss,
            log_terms(contrast, self.temperature) | lonely_terms(contrast, counts),
            partial(table_statistics, contrast, temperature, self.row_loss, self.world),
        )


def class_weights(log_confidences: Float[Tensor, "A classes"], labels: Tensor) -> Rule:
    """A rule that adds to each logit ln of the anchor's confidence in the candidate's label, or labels."""
    if labels.ndim == 1:
        return lambda rows: log_confidences[rows][:, labels]
    unlabelled = labels.sum(1, keepdim=True) == 0
    shares = torch.where(unlabelled, 1.0, labels).to(log_confidences.dtype)
    shares = shares / shares.sum(1, keepdim=True)

    def rule(rows: Tensor) -> Tensor:
        with torch.autocast(rows.device.type, enabled=False):
            confidences = log_confidences[rows].exp() @ shares.T
        return confidences.clamp(min=torch.finfo(confidences.dtype).tiny).log()

    return rule
