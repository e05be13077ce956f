"""Mirror-BERT for sentences: masked spans and dropout.

Each string is paired with itself; of the second copy five characters in a row are masked. Ten thousand strings in a
minute turn a masked language model into a sentence encoder: NT-Xent over both views, no head, no labels.

Source: Liu, Vulić, Korhonen and Collier, Mirror-BERT, EMNLP 2021, https://arxiv.org/abs/2104.08027
Trained in the paper on 10k sentences of STS-B for one epoch: batches of 200, length 50, AdamW 2e-5 with weight decay
0.01 at a constant rate, dropout 0.1, no selection on a dev set (give one with --dev to see scores and keep the best).

    backbone        pooling                     7 STS tasks, Spearman × 100, "all"
    BERT-base       mean over all positions       74.51
    RoBERTa-base    [CLS]                         75.08

Mean pooling of the authors covers the padding too ("mean_all"), so that it depends on the padded length.
Ablations of the paper: span=0 (no masking), dropout=0, terms=negatives (nothing pulls), terms=positives (collapses).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from textcl import (
    AllViews,
    Contrastive,
    Domain,
    EachPair,
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
    negatives_only,
    positives_only,
)

ROLES = ("text",)

PRESETS = {
    "bert-base-uncased": {"pooling": "mean_all"},
    "roberta-base": {"pooling": "cls"},
    "all-MiniLM-L6-v2": {
        "batch_size": 128,
        "learning_rate": 5e-5,
        "pooling": "mean",
    },
}

TERMS = {"both": EachPair(), "negatives": negatives_only, "positives": positives_only}


@dataclass(frozen=True)
class Settings(TrainSettings):
    """Settings of the paper for BERT-base.

    Args:
        temperature: Number, "learnable:0.04", or a schedule such as "cosine:0.1:0.04".
        pooling: How token states become one vector; as the model's folder says when empty, mean_all where it
            says nothing.
        span: Characters that are masked in the second view; 0 masks nothing.
        masking: "official" masks as the authors' code does, where "corrected" follows the paper.
        terms: Which parts of the loss there are.
        mask_duplicates: Do not take a sentence of equal text for a negative.
    """

    dev: str = ""
    batch_size: int = 200
    learning_rate: float = 2e-5
    weight_decay: float = 0.01
    schedule: Literal["linear", "cosine", "constant"] = "constant"
    max_length: int = 50
    temperature: TemperatureSetting = 0.04
    pooling: PoolingSetting | None = None
    span: Annotated[int, Domain(at_least=0)] = 5
    masking: Literal["corrected", "official"] = "corrected"
    terms: Literal["both", "negatives", "positives"] = "both"
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
    # the authors write "[MASK]" whatever the model
    mask = "[MASK]" if s.masking == "official" else str(online.tokenizer.mask_token)
    duplicates = [MaskDuplicates()] if s.mask_duplicates else []
    objective = Contrastive(
        AllViews(), as_temperature(s.temperature), duplicates, row_loss=TERMS[s.terms], world=world
    )
    return Method(
        views={
            "anchor": View("text"),
            "positive": View("text", (SpanMask(s.span, mask, s.masking),)),
        },
        encoders={"online": online},
        routes={"anchor": Route("online", "anchor"), "positive": Route("online", "positive")},
        objective=objective,
        hooks=[MoveSchedules.of(objective)],
        backprop=backprop_for(s.chunk_size),
    )
