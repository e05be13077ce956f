"""Mirror-BERT for words: each word twice, and dropout.

Turns a masked language model into a lexical encoder with a list of words. Nothing is masked, words are too short.

Source: Liu, Vulić, Korhonen and Collier, Mirror-BERT, EMNLP 2021, https://arxiv.org/abs/2104.08027
Trained in the paper on the 10k most frequent words for two epochs: batches of 200, length 25, temperature 0.2, [CLS],
AdamW 2e-5 with weight decay 0.01 at a constant rate, dropout 0.1, no selection on a dev set.

    backbone     word similarity, Spearman      before    after
    BERT-base    mean of the word sets           .267      .556

Expect most of it from the first fifty updates. `mirror-random-strings` shows how much of it needs no words at all.
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

ROWS = "words"

PRESETS = {
    "bert-base-uncased": {"pooling": "cls"},
    "roberta-base": {"pooling": "cls"},
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
    learning_rate: float = 2e-5
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
        views={"anchor": View("text")},
        encoders={"online": online},
        routes={"anchor": Route("online", "anchor"), "positive": Route("online", "anchor")},
        objective=objective,
        hooks=[MoveSchedules.of(objective)],
        backprop=backprop_for(s.chunk_size),
    )
