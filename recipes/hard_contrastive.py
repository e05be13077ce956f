"""Hard contrastive loss: only the most similar negatives.

Unsupervised SimCSE in which an anchor sees the hardest fraction of its negatives; the easy ones hardly push anyway, and
leaving them out lets a higher temperature, which spares near neighbours, still look at hard cases.

Source: Wang and Liu, Understanding the Behaviour of Contrastive Loss, CVPR 2021, https://arxiv.org/abs/2012.09740

    ImageNet100, ResNet-50, linear accuracy (no code was released)
    temperature                          .07      .3      .7     1.0
    contrastive                         71.53   75.10   69.03   63.57
    hard contrastive                    68.33   74.21   74.70   74.28

The paper keeps the 4095 nearest of 50k images. With batches of text a fraction of 0.1 to 0.5 is a start; no score on
text is published. Expect little change at temperature 0.05, which is hard on its own, and a gain at higher ones: on a
small encoder at 0.5 STS-B dev was 72.04 against 57.10 of plain InfoNCE, one seed, below the 76.5 that both have at 0.05
(see eval/results). Equal sentences would be the hardest negatives of all: they are masked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from textcl import (
    AnchorPositive,
    Contrastive,
    Domain,
    Encoder,
    KeepHardest,
    MaskDuplicates,
    Method,
    MoveSchedules,
    PoolingSetting,
    Route,
    TemperatureSetting,
    TrainSettings,
    View,
    World,
    as_temperature,
    backprop_for,
)

ROLES = ("text",)

PRESETS = {
    "bert-base-uncased": {"batch_size": 64, "learning_rate": 3e-5},
    "all-MiniLM-L6-v2": {
        "batch_size": 128,
        "learning_rate": 5e-5,
        "max_length": 50,
        "pooling": "mean",
        "head": "none",
    },
}


@dataclass(frozen=True)
class Settings(TrainSettings):
    """Settings of SimCSE for BERT-base.

    Args:
        temperature: Number, "learnable:0.05", or a schedule such as "cosine:0.1:0.05".
        hardest: Fraction of each anchor's negatives that stays, in (0, 1].
        pooling: How token states become one vector; as the model's folder says when empty, cls where it says nothing.
        head: MLP on the pooled vector: "train" leaves it out after training, "keep" keeps it, "none" has none.
        mask_duplicates: Do not take a sentence of equal text for a negative; on, because it would be the hardest.
    """

    temperature: TemperatureSetting = 0.05
    hardest: Annotated[float, Domain(above=0, at_most=1)] = 0.3
    pooling: PoolingSetting | None = None
    head: Literal["train", "keep", "none"] = "train"
    mask_duplicates: bool = True


def build(s: Settings, world: World) -> Method:
    """The method."""
    online = Encoder.from_pretrained(
        s.model,
        pooling=s.pooling,
        default_pooling="cls",
        max_length=s.reading_length,
        num_layers=s.num_layers,
        dropout=s.dropout,
        bidirectional=s.bidirectional,
        weights=s.base_weights,
        adapter=s.adapter,
    )
    if s.head != "none":
        online.add_projector(keep=s.head == "keep")
    duplicates = [MaskDuplicates()] if s.mask_duplicates else []
    objective = Contrastive(
        AnchorPositive(),
        as_temperature(s.temperature),
        [*duplicates, KeepHardest(s.hardest)],
        world=world,
    )
    return Method(
        views={"anchor": View("text")},
        encoders={"online": online},
        routes={"anchor": Route("online", "anchor"), "positive": Route("online", "anchor")},
        objective=objective,
        hooks=[MoveSchedules.of(objective)],
        backprop=backprop_for(s.chunk_size),
    )
