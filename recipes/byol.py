"""BYOL: predict what a slowly following encoder sees.

Each sentence goes twice through the online encoder and twice through a moving average of it, with four dropout masks.
A predictor on the online side, which the average lacks, keeps all sentences from ending in one point. The projector is
the encoder's projector, so that the average covers it.

Source: Grill et al., Bootstrap Your Own Latent, NeurIPS 2020, https://arxiv.org/abs/2006.07733

                                momentum             predictor
    ImageNet, ResNet-50         .996, rising to 1    4096, BatchNorm     74.3 % linear accuracy after 1000 epochs
    text (default here)         the same             the same            no published score

Watch `spread` in the log, the standard deviation of unit embeddings: about 1/√dimension when healthy, 0 when
collapsed. Expect less than from methods with negatives: two dropout masks are a weak pair of views, and
on a small encoder forty updates lowered the STS scores (eval/results/2026-11-24-recipes-minilm3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from textcl import (
    Byol,
    CosineMomentum,
    Domain,
    Encoder,
    Method,
    MomentumEncoder,
    MoveMomentum,
    MoveSchedules,
    PoolingSetting,
    Predictor,
    Route,
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
    },
}


@dataclass(frozen=True)
class Settings(TrainSettings):
    """Settings of the paper, rates of SimCSE for BERT-base.

    Args:
        pooling: How token states become one vector; as the model's folder says when empty, cls where it says nothing.
        momentum: What the moving average keeps of itself at each update; rises to 1 during the training.
        predictor_width: Width inside the predictor.
        predictor_norm: "batch" as published; "layer" keeps rows apart, for very small batches.
    """

    pooling: PoolingSetting | None = None
    momentum: Annotated[float, Domain(at_least=0, at_most=1)] = 0.996
    predictor_width: Annotated[int, Domain(at_least=1, at_most=2**16)] = 4096
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
    online.add_projector(keep=False)
    momentum = MomentumEncoder(online, CosineMomentum(s.momentum))
    predictor = Predictor(online.dimension, s.predictor_width, norm=s.predictor_norm)
    return Method(
        views={"anchor": View("text")},
        encoders={"online": online, "momentum": momentum},
        routes={
            "anchor": Route("online", "anchor"),
            "positive": Route("online", "anchor"),
            "anchor_target": Route("momentum", "anchor"),
            "positive_target": Route("momentum", "anchor"),
        },
        objective=Byol(predictor, world=world),
        hooks=[MoveMomentum(momentum, online), MoveSchedules.of(momentum)],
        backprop=backprop_for(s.chunk_size),
    )
