"""Cross-entropy of class logits, or of the head that makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from textcl.arithmetic import widen
from textcl.distributed import ALONE, World
from textcl.types import UNLABELLED, Batch, Embeddings, LossOutput


class CrossEntropy(nn.Module):
    """-mean_i ln softmax(head(x_i))[y_i]; for multi-hot labels the binary cross-entropy, a mean over classes as well.

    Args:
        head: From embeddings to class logits; None where the embeddings are logits already.
        names: Embeddings that are classified, each row of each counting once.
        class_weights: How much each class counts. For class ids in the mean over rows, as in torch; for multi-hot
            labels in each row's mean over classes.
        positive_weights: For multi-hot labels, how much each class counts in the rows that have it, beside 1 in those
            that do not.
        column: The label column that is classified, where rows have several; those without a label in it do not count.
        world: The processes that train together.

    Source: the baseline of Suresh & Ong 2021, https://arxiv.org/abs/2109.05427
    """

    class_weights: Tensor | None
    positive_weights: Tensor | None

    def __init__(
        self,
        head: nn.Module | None = None,
        names: Sequence[str] = ("anchor",),
        *,
        class_weights: Sequence[float] | None = None,
        positive_weights: Sequence[float] | None = None,
        column: int | None = None,
        world: World = ALONE,
    ) -> None:
        super().__init__()
        if class_weights is not None and not (min(class_weights) >= 0 and max(class_weights) > 0):
            raise ValueError(f"class weights must be ≥ 0 and one of them > 0, not {class_weights}")
        self.head = nn.Identity() if head is None else head
        self.names, self.column, self.world = tuple(names), column, world
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("class_weights", weights)
        positive = None if positive_weights is None else torch.tensor(positive_weights)
        self.register_buffer("positive_weights", positive)

    def logits(self, z: Embeddings) -> Float[Tensor, "A classes"]:
        """Class logits of the rows of all names, in float32 or wider."""
        with torch.autocast(z.rows.device.type, enabled=False):
            return torch.cat([self.head(widen(z[name])) for name in self.names])

    def items(self, batch: Batch, views: Mapping[str, str]) -> float:
        """Divisor of the mean over the rows of a batch; see `Counted`."""
        labels = None if batch.labels is None else self._own(batch.labels)
        if labels is None or labels.ndim > 1:
            return float(len(batch) * len(self.names))
        counts = labels != UNLABELLED
        if self.class_weights is not None:
            counts = self._counts(self.class_weights.cpu().double(), labels)
        return float(counts.sum()) * len(self.names)

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the batch."""
        if z.labels is None:
            raise ValueError("CrossEntropy needs labels, and the batch has none")
        logits = self.logits(z)
        labels = self._own(z.labels)
        labels = labels.repeat(len(self.names), *[1] * (labels.ndim - 1))
        weights = self.class_weights
        weights = logits.new_ones(logits.shape[1]) if weights is None else weights.to(logits)
        if labels.ndim == 1:
            counts = self._counts(weights, labels)
            values = F.cross_entropy(logits, labels, reduction="none", ignore_index=UNLABELLED)
            values = values * counts
        else:
            positive = None if self.positive_weights is None else self.positive_weights.to(logits)
            each = F.binary_cross_entropy_with_logits(
                logits, labels.to(logits), reduction="none", pos_weight=positive
            )
            values = (each * weights).sum(1) / weights.sum()
            counts = torch.ones_like(values)
        return LossOutput(self.world.mean(values, counts, z.items.get(self)))

    def _own(self, labels: Tensor) -> Tensor:
        """The labels that are read: all, or those of one column."""
        return labels if self.column is None else labels[:, self.column]

    def _counts(self, weights: Tensor, labels: Tensor) -> Tensor:
        """Weight of each row as a multiple of the smallest one above 0, by which a mean does not change."""
        counts = (weights / torch.where(weights > 0, weights, torch.inf).min())[labels]
        return counts if self.column is None else counts * (labels != UNLABELLED)
