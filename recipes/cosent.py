"""CoSENT and AnglE: pairs are ranked as people rank them.

Of every two pairs in a batch the one with the higher gold score must have the more similar sentences; by how much the
scores differ does not matter, as it does not for Spearman's correlation. AnglE compares angles of complex numbers in
place of cosines, whose gradient fades near 1.

Source: Su 2022, https://kexue.fm/archives/8847; Huang et al., CoSENT, TASLP 2024; AnglE: Li and Li, ACL 2024,
https://arxiv.org/abs/2309.12871

    loss       similarity       temperature
    cosent     cosine              0.05  (a scale of 20)
    angle      complex angle       0.05

Trains on `sentence1`, `sentence2`, `score`, in any monotone unit, such as STS-B train. Rates here are those of
fine-tuning BERT-base on STS-B. Batches must hold different scores, or there is nothing to rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textcl import (
    Encoder,
    Method,
    MoveSchedules,
    PoolingSetting,
    Route,
    TemperatureSetting,
    TrainSettings,
    View,
    World,
    angle,
    as_temperature,
    backprop_for,
    cosent,
)

ROLES = ("sentence1", "sentence2", "score")

PRESETS = {
    "bert-base-uncased": {"learning_rate": 2e-5},
    "all-MiniLM-L6-v2": {"learning_rate": 1e-4},
}

LOSSES = {"cosent": cosent, "angle": angle}


@dataclass(frozen=True)
class Settings(TrainSettings):
    """Settings for BERT-base on STS-B.

    Args:
        temperature: Number, "learnable:0.05", or a schedule such as "cosine:0.1:0.05".
        loss: What similarity is ranked.
        pooling: How token states become one vector; as the model's folder says when empty, mean where it says nothing.
    """

    batch_size: int = 32
    learning_rate: float = 2e-5
    epochs: float = 4.0
    warmup: float = 0.1
    max_length: int = 64
    temperature: TemperatureSetting = 0.05
    loss: Literal["cosent", "angle"] = "cosent"
    pooling: PoolingSetting | None = None


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
    objective = LOSSES[s.loss](as_temperature(s.temperature), world=world)
    names = ("sentence1", "sentence2")
    return Method(
        views={name: View(name) for name in names},
        encoders={"online": online},
        routes={name: Route("online", name) for name in names},
        objective=objective,
        hooks=[MoveSchedules.of(objective)],
        backprop=backprop_for(s.chunk_size),
    )
