"""Label-aware contrast: confusable classes count more.

As `supcon`, but a weighting network classifies every row too, and its confidence of row i in class c weighs every
candidate of class c in row i's contrast. Where anger and annoyance are confused, an annoyed row is a strong negative of
an angry one, a joyful row a weak one. The weighting network learns by its own cross-entropy and through the contrast.

    J = λ · cross-entropy + (1 − λ) · LCL + λ · cross-entropy of the weighting network

Source: Suresh and Ong, Not All Negatives Are Equal: Label-Aware Contrastive Loss for Fine-grained Text Classification,
EMNLP 2021, https://arxiv.org/abs/2109.05427
Trained there on two ELECTRA-base encoders with batches of 10 for 5 epochs, temperature 0.3, λ 0.5, AdamW 2e-5 with
weight decay 0.01, linear decay, synonyms as the second view; the epoch with the best dev accuracy is kept.

    accuracy, ELECTRA   SST-5   SST-2   Empathetic-32   GoEmotions-27   ISEAR-7   EmoInt-4
    cross-entropy       57.1    94.4    58.3            64.8            71.4      85.5
    supcon              57.4    94.3    58.5            64.3            70.5      85.7
    lcl                 58.5    94.5    60.1            65.5            72.4      86.6

The code weighs each loss by w_i[y_i] outside the logarithm, the printed formula inside: `variant`. Its second view
comes from WordNet (`--set second_view=synonyms`); dropout needs nothing installed and is the default here. Its
heads have a hidden layer and start at random (`--set head=lcl`); here both networks start as logistic regression on the
frozen vectors. Its gradient is clipped for each network by itself, here for both together.

Columns `text` and `label`; or `labels`, a list, where a text has several: rows are then positives in proportion to
the labels they share, and a candidate weighs the mean confidence in its labels. The loss can be negative; look at dev.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import nn

from textcl import (
    Classifier,
    ClassifierSettings,
    CrossEntropy,
    Domain,
    Encoder,
    LabelAware,
    MaskDuplicates,
    Method,
    MoveSchedules,
    PoolingSetting,
    Projected,
    Route,
    TemperatureSetting,
    View,
    WeightedSum,
    World,
    as_temperature,
    backprop_for,
    mlp,
    second_view,
)

ROLES = ("text", "label|labels")

PRESETS = {
    "all-MiniLM-L6-v2": {
        "batch_size": 32,
        "learning_rate": 2e-4,
        "pooling": "mean",
    },
}


@dataclass(frozen=True)
class Settings(ClassifierSettings):
    """Settings of the paper for ELECTRA-base.

    Args:
        temperature: Number, "learnable:0.3", or a schedule such as "cosine:0.5:0.1".
        loss_weight: λ, the share of cross-entropy in the loss.
        variant: "official" is the authors' code, which the published numbers come from; "paper" the printed formula.
        weighting: The weighting network: "encoder", a second one; or "shared", a second head on the same encoder.
        detach_weights: No gradient of the contrast reaches the weighting network.
        second_view: What the other view of a text is; "synonyms" (WordNet) in the paper.
        projector: Width of what an MLP makes of the vectors before they are contrasted; 0 contrasts them as they are.
        no_positive: What a row does that finds no positive: it is left out of the mean, or counts as 0.
        pooling: How token states become one vector; as the model's folder says when empty, cls where it says nothing.
        mask_duplicates: Do not take a row of equal text, but another label, for a negative.
    """

    model: str = "google/electra-base-discriminator"
    batch_size: int = 10
    learning_rate: float = 2e-5
    weight_decay: float = 0.01
    max_length: int = 128
    temperature: TemperatureSetting = 0.3
    loss_weight: Annotated[float, Domain(at_least=0, at_most=1)] = 0.5
    variant: Literal["official", "paper"] = "official"
    weighting: Literal["encoder", "shared"] = "encoder"
    detach_weights: bool = False
    second_view: Literal[
        "dropout", "synonyms", "span-mask", "delete-words", "repeat-words", "crop"
    ] = "dropout"
    projector: Annotated[int, Domain(at_least=0, at_most=2**16)] = 0
    no_positive: Literal["skip", "zero"] = "skip"
    pooling: PoolingSetting | None = None
    mask_duplicates: bool = False


def build(s: Settings, world: World) -> Method:
    """The method."""
    online = _encoder(s)
    head = s.head_for(online, s.head, s.head_dropout)
    views = ("anchor", "positive")
    encoders: dict[str, nn.Module] = {"online": online}
    routes = {name: Route("online", name) for name in views}
    if s.weighting == "encoder":
        second, weighing_head = _encoder(s), None
        weigher_head = s.head_for(second, s.weighing_head, s.head_dropout)
        encoders["weigher"] = Classifier(second, weigher_head, s.classes, multi_label=s.multi_label)
        weighers = tuple(f"weigher_{name}" for name in views)
        routes |= {f"weigher_{name}": Route("weigher", name) for name in views}
    else:  # without dropout of its own, so that contrast and cross-entropy see the same logits
        weighing_head = weigher_head = s.head_for(online, s.weighing_head, 0.0)
        weighers = views
    duplicates = [MaskDuplicates()] if s.mask_duplicates else []
    contrast = LabelAware(
        as_temperature(s.temperature),
        ("projected_anchor", "projected_positive") if s.projector else views,
        weighers,
        weighing_head,
        variant=s.variant,
        detach_weights=s.detach_weights,
        no_positive=s.no_positive,
        transforms=duplicates,
        world=world,
    )
    if s.projector:
        contrast = Projected(mlp(online.dimension, s.projector), contrast)
    objective = WeightedSum(
        [
            (
                s.loss_weight,
                CrossEntropy(
                    head,
                    views,
                    class_weights=s.weights,
                    positive_weights=s.positive_weights,
                    world=world,
                ),
            ),
            (1 - s.loss_weight, contrast),
            (
                s.loss_weight,
                CrossEntropy(
                    weighing_head,
                    weighers,
                    class_weights=s.weights,
                    positive_weights=s.positive_weights,
                    world=world,
                ),
            ),
        ]
    )
    mask_token = str(online.tokenizer.mask_token)
    return Method(
        views={"anchor": View("text"), "positive": second_view(s.second_view, "text", mask_token)},
        encoders=encoders,
        routes=routes,
        objective=objective,
        hooks=[MoveSchedules.of(objective)],
        backprop=backprop_for(s.chunk_size),
        model=Classifier(online, head, s.classes, multi_label=s.multi_label),
        rates=s.rates_of(head, weigher_head),
    )


def _encoder(s: Settings) -> Encoder:
    return Encoder.from_pretrained(
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
