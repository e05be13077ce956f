"""ConSERT: views differ by cut features, moved positions.

One copy loses a fifth of the columns of its embedding output, the other has its words at other positions; dropout is
off. NT-Xent over both.

Source: Yan et al., ConSERT, ACL 2021, https://arxiv.org/abs/2105.11741
Trained in the paper on the unlabelled texts of the STS tasks: batches of 96, learning rate 5e-7, temperature 0.1,
length 64, the loss times 0.15, the mean over the last two layers.

    backbone       7 STS tasks, Spearman × 100
    BERT-base        72.74
    BERT-large       76.45

Any two of shuffle, token_cutoff, span_cutoff, feature_cutoff and none make a recipe; the paper finds shuffle the
strongest and feature cutoff beside it the best pair. The rate is tiny because the texts are those of the test: on
other corpora raise it. variant=default spares the first token, and hides cut tokens from the attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from textcl import (
    CutFeatures,
    CutSpan,
    CutTokens,
    Domain,
    Encoder,
    MaskDuplicates,
    Method,
    MoveSchedules,
    PoolingSetting,
    Route,
    ShufflePositions,
    TemperatureSetting,
    TrainSettings,
    View,
    WeightedSum,
    World,
    as_temperature,
    backprop_for,
    nt_xent_pairs,
)

ROLES = ("text",)

PRESETS = {
    "bert-base-uncased": {"pooling": "top2"},
    "all-MiniLM-L6-v2": {
        "batch_size": 128,
        "learning_rate": 5e-5,
        "max_length": 50,
        "pooling": "mean",
    },
}

Change = Literal["shuffle", "token_cutoff", "span_cutoff", "feature_cutoff", "none"]


@dataclass(frozen=True)
class Settings(TrainSettings):
    """Settings of the paper for BERT-base.

    Args:
        temperature: Number, "learnable:0.1", or a schedule such as "cosine:0.2:0.1".
        first: What is done to the first copy.
        second: What is done to the second copy.
        cutoff: Share that a cutoff cuts.
        variant: "consert" and "cutoff_repo" cut and shuffle as the authors' codes do.
        loss_factor: Factor of the loss.
        pooling: How token states become one vector; as the model's folder says when empty, top2 where it says nothing.
        mask_duplicates: Do not take a sentence of equal text for a negative.
    """

    batch_size: int = 96
    learning_rate: float = 5e-7
    max_length: int = 64
    dropout: float | None = 0.0
    temperature: TemperatureSetting = 0.1
    first: Change = "feature_cutoff"
    second: Change = "shuffle"
    cutoff: Annotated[float, Domain(at_least=0, below=1)] = 0.2
    variant: Literal["consert", "cutoff_repo", "default"] = "consert"
    loss_factor: Annotated[float, Domain(above=0)] = 0.15
    pooling: PoolingSetting | None = None
    mask_duplicates: bool = False


def build(s: Settings, world: World) -> Method:
    """The method."""
    online = Encoder.from_pretrained(
        s.model,
        pooling=s.pooling,
        default_pooling="top2",
        max_length=s.reading_length,
        num_layers=s.num_layers,
        dropout=s.dropout,
        bidirectional=s.bidirectional,
        weights=s.base_weights,
        adapter=s.adapter,
    )
    changes = {
        "shuffle": (ShufflePositions(keep_first=s.variant == "default"),),
        "token_cutoff": (CutTokens(s.cutoff, s.variant),),
        "span_cutoff": (CutSpan(s.cutoff, s.variant),),
        "feature_cutoff": (CutFeatures(s.cutoff, online.embedding_width, s.variant),),
        "none": (),
    }
    duplicates = [MaskDuplicates()] if s.mask_duplicates else []
    loss = nt_xent_pairs(as_temperature(s.temperature), transforms=duplicates, world=world)
    objective = WeightedSum([(s.loss_factor, loss)])
    return Method(
        views={
            "anchor": View("text", changes=changes[s.first]),
            "positive": View("text", changes=changes[s.second]),
        },
        encoders={"online": online},
        routes={"anchor": Route("online", "anchor"), "positive": Route("online", "positive")},
        objective=objective,
        hooks=[MoveSchedules.of(objective)],
        backprop=backprop_for(s.chunk_size),
    )
