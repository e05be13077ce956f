"""Unsupervised SimCSE: each sentence twice, and dropout.

Each sentence goes through the encoder twice in one batch; the two dropout masks make the two views. The other
sentences of the batch are the negatives. A fresh MLP head stands on [CLS] while training and is left out afterwards.

Source: Gao, Yao and Chen, SimCSE, EMNLP 2021, https://arxiv.org/abs/2104.08821
Trained in the paper on 10⁶ Wikipedia sentences for one epoch, sequence length 32, AdamW without weight decay, linear
decay without warm-up; the checkpoint with the best STS-B dev score is kept, looked at every 125 updates.

    backbone        batch size   learning rate   7 STS tasks, Spearman × 100, "all"
    BERT-base           64           3e-5          76.25
    BERT-large          64           1e-5          78.41
    RoBERTa-base       512           1e-5          76.57
    RoBERTa-large      512           3e-5          78.90

The published row of BERT-base is one run; 50 seeds of others gave 75.11 ± 0.84, from 73.16 to 76.70
(hppRC/simple-simcse).
Expect most of the gain within the first few hundred updates, and a loss near 0 that says little: look at dev.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import nn

from textcl import (
    AnchorPositive,
    Contrastive,
    Domain,
    Encoder,
    MaskDuplicates,
    MaskedTokenLoss,
    MaskTokens,
    Method,
    MoveSchedules,
    PoolingSetting,
    RatioOfSums,
    Route,
    TemperatureSetting,
    TrainSettings,
    View,
    WeightedSum,
    World,
    as_temperature,
    backprop_for,
)

ROLES = ("text",)

PRESETS = {
    "bert-base-uncased": {"batch_size": 64, "learning_rate": 3e-5},
    "bert-large-uncased": {"batch_size": 64, "learning_rate": 1e-5},
    "roberta-base": {"batch_size": 512, "learning_rate": 1e-5},
    "roberta-large": {"batch_size": 512, "learning_rate": 3e-5},
    # not of the paper: chosen on STS-B dev for its first three layers and 10k sentences, see eval/results
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
    """Settings of the paper for BERT-base.

    Args:
        temperature: Number, "learnable:0.05", or a schedule such as "cosine:0.1:0.05".
        pooling: How token states become one vector; as the model's folder says when empty, cls where it says nothing.
        head: MLP on the pooled vector: "train" leaves it out after training, "keep" keeps it, "none" has none.
        mask_duplicates: Do not take a sentence of equal text for a negative.
        mlm_weight: Factor of a masked language modelling loss beside it, 0.1 where the paper has one; 0 has none.
    """

    temperature: TemperatureSetting = 0.05
    pooling: PoolingSetting | None = None
    head: Literal["train", "keep", "none"] = "train"
    mask_duplicates: bool = False
    mlm_weight: Annotated[float, Domain(at_least=0)] = 0.0


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
        AnchorPositive(),
        as_temperature(s.temperature),
        [MaskDuplicates()] if s.mask_duplicates else [],
        world=world,
    )
    encoders: dict[str, nn.Module] = {"online": online}
    views = {"anchor": View("text")}
    routes = {"anchor": Route("online", "anchor"), "positive": Route("online", "anchor")}
    if s.mlm_weight:
        names = ("masked_anchor", "masked_positive")
        encoders["mlm"] = MaskedTokenLoss(online)
        views |= dict.fromkeys(names, View("text", changes=(MaskTokens.of(online.tokenizer),)))
        routes |= {name: Route("mlm", name) for name in names}
        objective = WeightedSum([(1.0, objective), (s.mlm_weight, RatioOfSums(names, world))])
    return Method(
        views=views,
        encoders=encoders,
        routes=routes,
        objective=objective,
        hooks=[MoveSchedules.of(objective)],
        backprop=backprop_for(s.chunk_size),
    )
