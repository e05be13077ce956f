"""A first run in minutes, offline: unsupervised SimCSE.

The first three layers of all-MiniLM-L6-v2 (extra `offline`) are an encoder that is not tuned for sentences; 40 updates
of unsupervised SimCSE on 2,000 sentences turn it into one. Data and dev pairs are a smoke set written for textcl: its
scores show that training works, and say nothing about a model on real benchmarks.

Source: the method is that of `textcl recipes show unsup-simcse`, with mean pooling and no head.

    model                                    layers   batch size   learning rate   updates
    sentence-transformers/all-MiniLM-L6-v2      3         128           5e-5          40
"""

from __future__ import annotations

from dataclasses import dataclass

from textcl import (
    AnchorPositive,
    Contrastive,
    Encoder,
    MaskDuplicates,
    Method,
    MoveSchedules,
    Route,
    TemperatureSetting,
    TrainSettings,
    View,
    World,
    as_temperature,
    backprop_for,
)

ROLES = ("text",)


@dataclass(frozen=True)
class Settings(TrainSettings):
    """Small enough for two cores.

    Args:
        temperature: Number, "learnable:0.05", or a schedule such as "cosine:0.1:0.05".
        mask_duplicates: Do not take a sentence of equal text for a negative.
    """

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    data: str = "sample"
    dev: str = "sample-pairs-dev"
    num_layers: int | None = 3
    batch_size: int = 128
    learning_rate: float = 5e-5
    steps: int | None = 40
    max_length: int = 50
    evaluate_every: int = 10
    save_every: int = 10
    temperature: TemperatureSetting = 0.05
    mask_duplicates: bool = False


def build(s: Settings, world: World) -> Method:
    """The method."""
    online = Encoder.from_pretrained(
        s.model,
        default_pooling="mean",
        max_length=s.reading_length,
        num_layers=s.num_layers,
        dropout=s.dropout,
        bidirectional=s.bidirectional,
        weights=s.base_weights,
        adapter=s.adapter,
    )
    duplicates = [MaskDuplicates()] if s.mask_duplicates else []
    objective = Contrastive(
        AnchorPositive(), as_temperature(s.temperature), duplicates, world=world
    )
    return Method(
        views={"anchor": View("text")},
        encoders={"online": online},
        routes={"anchor": Route("online", "anchor"), "positive": Route("online", "anchor")},
        objective=objective,
        hooks=[MoveSchedules.of(objective)],
        backprop=backprop_for(s.chunk_size),
    )
