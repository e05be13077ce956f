"""Joint NLI: triplets and dropout pairs of one premise.

The supervised loss says what entails what; the unsupervised one keeps premises apart and the space even, also where
NLI has no say. Both see the same batch ("sum"), or they take turns ("alternate").

Source: Gao, Yao and Chen, SimCSE, EMNLP 2021, https://arxiv.org/abs/2104.08821 (both losses); Yan et al., ConSERT, ACL
2021, https://arxiv.org/abs/2105.11741 (supervised and unsupervised together, there with a cross-entropy over NLI
labels).

    method                                   7 STS tasks, BERT-base, Spearman × 100
    ConSERT, unsupervised                      72.74
    SimCSE, unsupervised / supervised          76.25 / 81.57

The sum of the two SimCSE losses has no published score; settings are those of `sup-simcse`. Expect about the score of
`sup-simcse`, with better uniformity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from textcl import (
    Alternate,
    AnchorPositive,
    Contrastive,
    Domain,
    Encoder,
    MaskDuplicates,
    Method,
    MoveSchedules,
    PoolingSetting,
    Route,
    TemperatureSetting,
    TrainSettings,
    View,
    WeightedSum,
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

JOINT = {"sum": WeightedSum, "alternate": Alternate}


@dataclass(frozen=True)
class Settings(TrainSettings):
    """Settings of supervised SimCSE for the base models.

    Args:
        temperature: Number, "learnable:0.05", or a schedule such as "cosine:0.1:0.05"; of both losses.
        joint: Both losses for every batch, or in turns.
        unsupervised_weight: Factor of the unsupervised loss; the supervised one has 1.
        pooling: How token states become one vector; as the model's folder says when empty, cls where it says nothing.
        head: MLP on the pooled vector: "train" leaves it out after training, "keep" keeps it, "none" has none.
        mask_duplicates: Do not take a sentence of equal text for a negative.
    """

    batch_size: int = 512
    learning_rate: float = 5e-5
    epochs: float = 3.0
    temperature: TemperatureSetting = 0.05
    joint: Literal["sum", "alternate"] = "sum"
    unsupervised_weight: Annotated[float, Domain(at_least=0)] = 1.0
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
    duplicates = [MaskDuplicates()] if s.mask_duplicates else []
    temperature = as_temperature(s.temperature)
    supervised = Contrastive(
        AnchorPositive(negatives=("negative",)), temperature, duplicates, world=world
    )
    unsupervised = Contrastive(
        AnchorPositive(positive="again"), temperature, duplicates, world=world
    )
    objective = JOINT[s.joint]([(1.0, supervised), (s.unsupervised_weight, unsupervised)])
    return Method(
        views={role: View(role) for role in ROLES},
        encoders={"online": online},
        routes={
            **{role: Route("online", role) for role in ROLES},
            "again": Route("online", "anchor"),
        },
        objective=objective,
        hooks=[MoveSchedules.of(objective)],
        backprop=backprop_for(s.chunk_size),
    )
