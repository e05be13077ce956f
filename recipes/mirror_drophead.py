"""Mirror-BERT with whole attention heads dropped.

As `mirror-bert`, but ordinary dropout is off and every layer drops some of its attention heads, drawn anew for each
row. The two views of a string then differ by what the heads attend to.

Source: Liu, Vulić, Korhonen and Collier, Mirror-BERT, EMNLP 2021, https://arxiv.org/abs/2104.08027; DropHead: Zhou et
al., Findings of EMNLP 2020, https://arxiv.org/abs/2004.13342

    backbone        drophead   pooling                     7 STS tasks, Spearman × 100, "all"
    BERT-base         0.2      mean over all positions       75.16   (74.51 with dropout)
    RoBERTa-base      0.05     [CLS]                         76.67   (75.08 with dropout)

All other settings are those of `mirror-bert`. Expect a little more than with dropout, at the same cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from textcl import (
    Domain,
    Encoder,
    MaskDuplicates,
    Method,
    MoveSchedules,
    PoolingSetting,
    Route,
    SpanMask,
    TemperatureSetting,
    TrainSettings,
    View,
    World,
    as_temperature,
    backprop_for,
    install_drophead,
    nt_xent_pairs,
)

ROLES = ("text",)

PRESETS = {
    "bert-base-uncased": {"drophead": 0.2, "pooling": "mean_all"},
    "roberta-base": {"drophead": 0.05, "pooling": "cls"},
    "all-MiniLM-L6-v2": {
        "batch_size": 128,
        "learning_rate": 5e-5,
        "pooling": "mean",
        "drophead": 0.2,
    },
}


@dataclass(frozen=True)
class Settings(TrainSettings):
    """Settings of the paper for BERT-base.

    Args:
        temperature: Number, "learnable:0.04", or a schedule such as "cosine:0.1:0.04".
        pooling: How token states become one vector; as the model's folder says when empty, mean_all where it
            says nothing.
        drophead: Probability to drop an attention head while training.
        span: Characters that are masked in the second view; 0 masks nothing.
        mask_duplicates: Do not take a sentence of equal text for a negative.
    """

    dev: str = ""
    batch_size: int = 200
    learning_rate: float = 2e-5
    weight_decay: float = 0.01
    schedule: Literal["linear", "cosine", "constant"] = "constant"
    max_length: int = 50
    dropout: float | None = 0.0
    temperature: TemperatureSetting = 0.04
    pooling: PoolingSetting | None = None
    drophead: Annotated[float, Domain(at_least=0, below=1)] = 0.2
    span: Annotated[int, Domain(at_least=0)] = 5
    mask_duplicates: bool = False


def build(s: Settings, world: World) -> Method:
    """The method."""
    online = Encoder.from_pretrained(
        s.model,
        pooling=s.pooling,
        default_pooling="mean_all",
        max_length=s.reading_length,
        num_layers=s.num_layers,
        dropout=s.dropout,
        bidirectional=s.bidirectional,
        weights=s.base_weights,
        adapter=s.adapter,
    )
    install_drophead(online.backbone, s.drophead)
    duplicates = [MaskDuplicates()] if s.mask_duplicates else []
    objective = nt_xent_pairs(as_temperature(s.temperature), transforms=duplicates, world=world)
    mask = SpanMask(s.span, str(online.tokenizer.mask_token))
    return Method(
        views={"anchor": View("text"), "positive": View("text", (mask,))},
        encoders={"online": online},
        routes={"anchor": Route("online", "anchor"), "positive": Route("online", "positive")},
        objective=objective,
        hooks=[MoveSchedules.of(objective)],
        backprop=backprop_for(s.chunk_size),
    )
