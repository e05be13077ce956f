"""Mixup: a blend of two sentences has two positives.

Unsupervised SimCSE whose anchors are blended two by two, λ·a + (1-λ)·b with one λ a step. A blend must pick both second
copies among all, the first with weight λ and the second with 1-λ: λ·CE(first) + (1-λ)·CE(second).

Source: Zhang et al., mixup, ICLR 2018, https://arxiv.org/abs/1710.09412
Alpha of Beta(alpha, alpha) is 0.2 to 0.4 in the paper, which classifies images by blended inputs: 1 to 1.5 points on
ImageNet with ResNet-50. Blending sentence embeddings has no published setting; head, rates and temperature are those
of `unsup-simcse`.

Expect little at a small alpha, where λ is near 0 or 1 most of the time, and a smoother, less peaked space at 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from textcl import (
    AnchorPositive,
    BetaMix,
    Contrastive,
    Domain,
    Encoder,
    MaskDuplicates,
    Method,
    MixAnchors,
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
    """Settings of SimCSE for BERT-base, alpha of mixup.

    Args:
        temperature: Number, "learnable:0.05", or a schedule such as "cosine:0.1:0.05".
        alpha: Both parameters of the Beta that λ is drawn from; 1 draws uniformly.
        level: One λ for a step ("scalar") or for a row.
        pooling: How token states become one vector; as the model's folder says when empty, cls where it says nothing.
        head: MLP on the pooled vector: "train" leaves it out after training, "keep" keeps it, "none" has none.
        mask_duplicates: Do not take a sentence of equal text for a negative.
    """

    temperature: TemperatureSetting = 0.05
    alpha: Annotated[float, Domain(above=0)] = 0.2
    level: Literal["scalar", "row"] = "scalar"
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
    draw = BetaMix(s.alpha, s.level, seed=s.seed)
    duplicates = [MaskDuplicates()] if s.mask_duplicates else []
    objective = Contrastive(
        AnchorPositive(),
        as_temperature(s.temperature),
        [MixAnchors(draw, world), *duplicates],
        world=world,
    )
    return Method(
        views={"anchor": View("text")},
        encoders={"online": online},
        routes={"anchor": Route("online", "anchor"), "positive": Route("online", "anchor")},
        objective=objective,
        hooks=[MoveSchedules.of(objective)],
        state={"draw": draw},
        backprop=backprop_for(s.chunk_size),
    )
