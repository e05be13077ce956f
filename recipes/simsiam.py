"""SimSiam: views predict each other, with no negatives.

Each sentence goes through the encoder twice; a predictor maps one result to the other, which counts as given. That the
given side has no gradient is all that keeps sentences from ending in one point.

Source: Chen and He, Exploring Simple Siamese Representation Learning, CVPR 2021, https://arxiv.org/abs/2011.10566

                                predictor
    ImageNet, ResNet-50         512 for 2048 dimensions, BatchNorm     68.1 % linear accuracy after 100 epochs
    text (default here)         a quarter of 768, BatchNorm            no published score

Watch `spread` in the log, the standard deviation of unit embeddings: about 1/√dimension when healthy, 0 when
collapsed. Expect less than from methods with negatives: on a small encoder forty updates lowered the STS
scores (eval/results/2026-11-24-recipes-minilm3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from textcl import (
    Domain,
    Encoder,
    Method,
    PoolingSetting,
    Predictor,
    Route,
    SimSiam,
    TrainSettings,
    View,
    World,
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
        "predictor_width": 96,
    },
}


@dataclass(frozen=True)
class Settings(TrainSettings):
    """The paper's shape of the predictor, rates of SimCSE for BERT-base.

    Args:
        pooling: How token states become one vector; as the model's folder says when empty, cls where it says nothing.
        predictor_width: Width inside the predictor.
        predictor_norm: "batch" as published; "layer" keeps rows apart, for very small batches.
    """

    pooling: PoolingSetting | None = None
    predictor_width: Annotated[int, Domain(at_least=1, at_most=2**16)] = 192
    predictor_norm: Literal["batch", "layer"] = "batch"


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
    online.add_projector(keep=False)  # the projector
    predictor = Predictor(online.dimension, s.predictor_width, norm=s.predictor_norm)
    return Method(
        views={"anchor": View("text")},
        encoders={"online": online},
        routes={"anchor": Route("online", "anchor"), "positive": Route("online", "anchor")},
        objective=SimSiam(predictor, world=world),
        backprop=backprop_for(s.chunk_size),
    )
