"""Supervised SimCSE: contradictions are hard negatives.

Each premise is pulled to a sentence it entails and pushed from one that contradicts it, and from the entailments and
contradictions of the other premises of the batch. A fresh MLP head on [CLS] is trained and stays part of the model.

Source: Gao, Yao and Chen, SimCSE, EMNLP 2021, https://arxiv.org/abs/2104.08821
Trained in the paper on 275k triplets of SNLI and MultiNLI for three epochs with batches of 512, sequence length 32,
temperature 0.05, AdamW without weight decay, linear decay; the checkpoint with the best STS-B dev score is kept.

    backbone        learning rate   7 STS tasks, Spearman × 100, "all"
    BERT-base           5e-5          81.57
    BERT-large          1e-5          82.21
    RoBERTa-base        5e-5          82.52
    RoBERTa-large       1e-5          83.76

Expect to be ahead of `unsup-simcse` by several points on the same sentences and the same number of updates. NLI
repeats its premises: in large batches `mask_duplicates` keeps a premise's other entailments from being pushed away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textcl import (
    AnchorPositive,
    Contrastive,
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
)

ROLES = ("anchor", "positive", "negative")

PRESETS = {
    "bert-large-uncased": {"learning_rate": 1e-5},
    "roberta-large": {"learning_rate": 1e-5},
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
    """Settings of the paper for the base models.

    Args:
        temperature: Number, "learnable:0.05", or a schedule such as "cosine:0.1:0.05".
        hard_negative_weight: Added to the logit of an anchor's own contradiction: ln of how often it counts.
        pooling: How token states become one vector; as the model's folder says when empty, cls where it says nothing.
        head: MLP on the pooled vector: "train" leaves it out after training, "keep" keeps it, "none" has none.
        mask_duplicates: Do not take a sentence of equal text for a negative.
    """

    batch_size: int = 512
    learning_rate: float = 5e-5
    epochs: float = 3.0
    temperature: TemperatureSetting = 0.05
    hard_negative_weight: float = 0.0
    pooling: PoolingSetting | None = None
    head: Literal["train", "keep", "none"] = "keep"
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
    objective = Contrastive(
        AnchorPositive(negatives=("negative",), hard_negative_weight=s.hard_negative_weight),
        as_temperature(s.temperature),
        [MaskDuplicates()] if s.mask_duplicates else [],
        world=world,
    )
    return Method(
        views={role: View(role) for role in ROLES},
        encoders={"online": online},
        routes={role: Route("online", role) for role in ROLES},
        objective=objective,
        hooks=[MoveSchedules.of(objective)],
        backprop=backprop_for(s.chunk_size),
    )
