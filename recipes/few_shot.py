"""Few labels: contrast of classes, then a linear head.

With a handful of rows a class a head can hardly be trained by gradient. So only the encoder is: every batch holds
several rows of each of its classes, rows of one class attract each other, all others are negatives. A row is embedded
once for all its pairs, of which a batch of 32 rows has 496. Then the head is fitted to the vectors of all rows, brought
to length 1: a logistic regression of a strength chosen by cross-validation. The frozen encoder gets one too: the line
to beat.

    J = SupCon

Source: Tunstall et al., Efficient Few-Shot Learning Without Prompts, 2022, https://arxiv.org/abs/2209.11055, who train
on unique pairs with a loss on each pair's cosine; Khosla et al., Supervised Contrastive Learning, NeurIPS 2020,
https://arxiv.org/abs/2004.11362

Columns `text` and `label`; or `labels`, a list, where a text has several: rows then attract each other in proportion to
the labels they share, and batches are shuffled rows. Where no dev set is named and there are 1,000 rows, and 20 a
class, a tenth is held out; the encoder is trained on the rest, the head that is saved is fitted to all rows. With fewer
rows, parts of them are left out in turn to choose what is saved: the frozen encoder, the trained one, or the mean of
their weights (Wortsman et al. 2022, https://arxiv.org/abs/2109.01903).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from textcl import (
    Classifier,
    Domain,
    Encoder,
    LabelledSettings,
    MaskDuplicates,
    Method,
    MoveSchedules,
    PoolingSetting,
    Route,
    TemperatureSetting,
    View,
    World,
    as_temperature,
    backprop_for,
    sup_con,
)

ROLES = ("text", "label|labels")


@dataclass(frozen=True)
class Settings(LabelledSettings):
    """Settings for all-MiniLM-L6-v2.

    Args:
        epochs: Passes over the data; 0 makes 10, and between 50 and 300 updates.
        evaluate_every: Updates between two evaluations on `dev`; 0 evaluates at the end, and with `patience` after
            every epoch.
        rows_per_class: K of P × K batches, of which P is batch_size / K; 0 shuffles all rows, as always where rows have
            several labels.
        temperature: Number, "learnable:0.1", or a schedule such as "cosine:0.5:0.1".
        freeze_embeddings: Whether the table of token embeddings stays as it is, which a few rows hardly touch.
        pooling: How token states become one vector; as the model's folder says when empty, mean where it says nothing.
        mask_duplicates: Do not take a row of equal text, but another label, for a negative.
    """

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    batch_size: int = 32
    learning_rate: float = 5e-5
    warmup: float = 0.1
    max_length: int = 128
    rows_per_class: Annotated[int, Domain(at_least=0)] = 4
    temperature: TemperatureSetting = 0.1
    freeze_embeddings: bool = True
    pooling: PoolingSetting | None = None
    mask_duplicates: bool = False

    FITS_HEAD: ClassVar[bool] = True
    REHEARSED: ClassVar[float] = 0.5

    @property
    def block(self) -> int:
        """Rows of one class that stand together in a batch; 0 for shuffled rows."""
        return 0 if self.multi_label else self.rows_per_class

    def total_steps(self, batches: int) -> int:
        """Updates of the run, given the batches of an epoch."""
        if self.steps is not None or self.epochs:
            return super().total_steps(batches)
        return self.beyond_warmup(min(max(10 * batches // self.accumulation, 50), 300))

    def evaluation_interval(self, batches: int) -> int:
        """Updates between two evaluations, given the batches of an epoch."""
        if self.evaluate_every or self.patience:
            return super().evaluation_interval(batches)
        return self.total_steps(batches)


def build(s: Settings, world: World) -> Method:
    """The method."""
    online = Encoder.from_pretrained(
        s.model,
        pooling=s.pooling,
        default_pooling="mean",
        max_length=s.reading_length,
        num_layers=s.num_layers,
        dropout=s.dropout,
        bidirectional=s.bidirectional,
        weights=s.base_weights,
        adapter=s.adapter,
    )
    if s.freeze_embeddings:
        online.backbone.get_input_embeddings().requires_grad_(False)
    head = s.head_for(online, "linear", 0.0)
    objective = sup_con(
        as_temperature(s.temperature),
        names=("anchor",),
        transforms=[MaskDuplicates()] if s.mask_duplicates else [],
        world=world,
    )
    return Method(
        views={"anchor": View("text")},
        encoders={"online": online},
        routes={"anchor": Route("online", "anchor")},
        objective=objective,
        hooks=[MoveSchedules.of(objective)],
        state={"head": head},
        backprop=backprop_for(s.chunk_size),
        model=Classifier(online, head, s.classes, multi_label=s.multi_label),
    )
