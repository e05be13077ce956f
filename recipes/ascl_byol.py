"""ASCL without negatives: neighbours are soft targets.

BYOL for text whose target is a mixture: the keys of other sentences of the batch that are near the own one take part of
it, weighed by how sure the key is of them. The key sees the plain sentence, the query one with tokens cut.

Source: Feng and Patras, Adaptive Soft Contrastive Learning, ICPR 2022, https://arxiv.org/abs/2207.11163

    momentum   predictor          softening   neighbours
      .99      512, BatchNorm        .05           1        small images; no score on text is published

The authors' code returns one loss a sentence, on which backward fails; here it is the mean. Watch `spread` in the log,
the standard deviation of unit embeddings: about 1/√dimension when healthy, 0 when collapsed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from textcl import (
    CutTokens,
    Domain,
    Encoder,
    Method,
    MomentumEncoder,
    MoveMomentum,
    PoolingSetting,
    Predictor,
    Route,
    SoftByol,
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
    """The paper's numbers for small images, rates of SimCSE for BERT-base.

    Args:
        softening_temperature: Of the key's softmax over the other keys of the batch.
        neighbours: How many neighbours are looked for; 0 is BYOL.
        cutoff: Share of the query's tokens that is cut.
        pooling: How token states become one vector; as the model's folder says when empty, cls where it says nothing.
        momentum: What the moving average keeps of itself at each update.
        predictor_width: Width inside the predictor.
        predictor_norm: "batch" as published; "layer" keeps rows apart, for very small batches.
    """

    softening_temperature: Annotated[float, Domain(above=0)] = 0.05
    neighbours: Annotated[int, Domain(at_least=0)] = 1
    cutoff: Annotated[float, Domain(at_least=0, below=1)] = 0.1
    pooling: PoolingSetting | None = None
    momentum: Annotated[float, Domain(at_least=0, at_most=1)] = 0.99
    predictor_width: Annotated[int, Domain(at_least=1, at_most=2**16)] = 512
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
    online.add_projector(keep=False)  # the projector, which the average covers
    momentum = MomentumEncoder(online, s.momentum)
    objective = SoftByol(
        Predictor(online.dimension, s.predictor_width, norm=s.predictor_norm),
        pairs=[("anchor", "key")],
        temperature=s.softening_temperature,
        neighbours=s.neighbours,
        world=world,
    )
    return Method(
        views={"anchor": View("text", changes=(CutTokens(s.cutoff),)), "weak": View("text")},
        encoders={"online": online, "momentum": momentum},
        routes={"anchor": Route("online", "anchor"), "key": Route("momentum", "weak")},
        objective=objective,
        hooks=[MoveMomentum(momentum, online)],
        backprop=backprop_for(s.chunk_size),
    )
