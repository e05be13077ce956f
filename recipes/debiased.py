"""Debiased contrast: expected false negatives taken out.

Some of the other sentences of a batch mean the same as the anchor. From the positive and an assumed share of such
false negatives the loss estimates their part of the sum and subtracts it; no labels are needed.

Source: Chuang et al., Debiased Contrastive Learning, NeurIPS 2020, https://arxiv.org/abs/2007.00224

    STL10, ResNet-50, temperature 0.5     prior      linear accuracy
    contrastive (SimCLR)                    -            80.15
    debiased                               .05           81.85
    debiased                               .1            84.26

Images of ten classes have a prior near 0.1. Sentences rarely mean the same: with temperature 0.05 start at 0.02 or
below. Expect little on varied text, more on narrow domains. Leave duplicates unmasked, the prior stands for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from textcl import (
    AllViews,
    Domain,
    Encoder,
    HardNegative,
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
    """Starting values for text, rates of SimCSE for BERT-base.

    Args:
        temperature: Number, "learnable:0.05", or a schedule such as "cosine:0.1:0.05".
        prior: Assumed share of negatives that mean the same as the anchor, in [0, 1).
        pooling: How token states become one vector; as the model's folder says when empty, cls where it says nothing.
        head: MLP on the pooled vector: "train" leaves it out after training, "keep" keeps it, "none" has none.
        mask_duplicates: Do not take a sentence of equal text for a negative; `prior` stands for these already.
    """

    temperature: TemperatureSetting = 0.05
    prior: Annotated[float, Domain(at_least=0, below=1)] = 0.01
    pooling: PoolingSetting | None = None
    head: Literal["train", "keep", "none"] = "train"
    mask_duplicates: bool = False


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
    objective = HardNegative(
        AllViews(), as_temperature(s.temperature), s.prior, 0.0, duplicates, world=world
    )
    return Method(
        views={"anchor": View("text")},
        encoders={"online": online},
        routes={"anchor": Route("online", "anchor"), "positive": Route("online", "anchor")},
        objective=objective,
        hooks=[MoveSchedules.of(objective)],
        backprop=backprop_for(s.chunk_size),
    )
