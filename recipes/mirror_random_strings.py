"""Mirror-BERT on random strings: gain without language.

An ablation of the paper. Every text of the corpus is replaced by characters drawn from a–z and 0–9, as many as it has,
and the encoder is trained as in `mirror-word`. What improves is the shape of the space, not what the model knows.

Source: Liu, Vulić, Korhonen and Collier, Mirror-BERT, EMNLP 2021, https://arxiv.org/abs/2104.08027
Trained in the paper on 10k strings with the lengths of the usual corpus, learning rate 5e-5, the rest as `mirror-word`.

    BERT-base, word similarity          Spearman
    before                                .267
    Mirror-BERT on random strings         .481
    Mirror-BERT on words                  .556

Give it the corpus whose lengths it should take. A string depends on the text and the seed only, so it stays the same
in all epochs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textcl import (
    Encoder,
    MaskDuplicates,
    Method,
    MoveSchedules,
    PoolingSetting,
    RandomString,
    Route,
    TemperatureSetting,
    TrainSettings,
    View,
    World,
    as_temperature,
    backprop_for,
    nt_xent_pairs,
)

ROLES = ("text",)

PRESETS = {
    "bert-base-uncased": {"pooling": "cls"},
    "all-MiniLM-L6-v2": {"learning_rate": 1e-4, "pooling": "mean"},
}


@dataclass(frozen=True)
class Settings(TrainSettings):
    """Settings of the paper for BERT-base.

    Args:
        temperature: Number, "learnable:0.2", or a schedule such as "cosine:0.4:0.2".
        pooling: How token states become one vector; as the model's folder says when empty, cls where it says nothing.
        mask_duplicates: Do not take a sentence of equal text for a negative.
    """

    dev: str = ""
    batch_size: int = 200
    learning_rate: float = 5e-5
    epochs: float = 2.0
    weight_decay: float = 0.01
    schedule: Literal["linear", "cosine", "constant"] = "constant"
    max_length: int = 25
    temperature: TemperatureSetting = 0.2
    pooling: PoolingSetting | None = None
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
    duplicates = [MaskDuplicates()] if s.mask_duplicates else []
    objective = nt_xent_pairs(as_temperature(s.temperature), transforms=duplicates, world=world)
    return Method(
        views={"anchor": View("text", (RandomString(s.seed),))},
        encoders={"online": online},
        routes={"anchor": Route("online", "anchor"), "positive": Route("online", "anchor")},
        objective=objective,
        hooks=[MoveSchedules.of(objective)],
        backprop=backprop_for(s.chunk_size),
    )
