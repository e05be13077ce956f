"""SupCon beside cross-entropy: classes attract their own.

Each text goes through the encoder in two views. A head classifies both, and the vectors themselves are contrasted:
every row of the same label in the batch is a positive of every other, the rest are negatives that all count alike.

    J = λ · cross-entropy + (1 − λ) · SupCon

Source: Gunel et al., Supervised Contrastive Learning for Pre-trained Language Model Fine-tuning, ICLR 2021,
https://arxiv.org/abs/2011.01403; Khosla et al., NeurIPS 2020, https://arxiv.org/abs/2004.11362; with the settings and
the scores of Suresh and Ong, EMNLP 2021, https://arxiv.org/abs/2109.05427, in whose comparison it stands.

    accuracy, ELECTRA   SST-5   SST-2   Empathetic-32   GoEmotions-27   ISEAR-7   EmoInt-4
    cross-entropy       57.1    94.4    58.3            64.8            71.4      85.5
    supcon              57.4    94.3    58.5            64.3            70.5      85.7

The head starts as logistic regression on the frozen vectors; theirs has a hidden layer and starts at random
(`--set head=lcl`).

Columns `text` and `label`; or `labels`, a list, where a text has several: rows are then positives in proportion to
the labels they share. A batch of 10 rows of 32 classes rarely holds two of one class, so its positives are mostly the
other view of the same row: `rows_per_class` or a larger batch changes that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from textcl import (
    Classifier,
    ClassifierSettings,
    CrossEntropy,
    Domain,
    Encoder,
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
    sup_con,
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
    second_view: Literal[
        "dropout", "synonyms", "span-mask", "delete-words", "repeat-words", "crop"
    ] = "dropout"
    projector: Annotated[int, Domain(at_least=0, at_most=2**16)] = 0
    no_positive: Literal["skip", "zero"] = "skip"
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
    head = s.head_for(online, s.head, s.head_dropout)
    views = ("anchor", "positive")
    compared = ("projected_anchor", "projected_positive") if s.projector else views
    duplicates = [MaskDuplicates()] if s.mask_duplicates else []
    contrast = sup_con(
        as_temperature(s.temperature),
        names=compared,
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
        ]
    )
    mask_token = str(online.tokenizer.mask_token)
    return Method(
        views={"anchor": View("text"), "positive": second_view(s.second_view, "text", mask_token)},
        encoders={"online": online},
        routes={name: Route("online", name) for name in views},
        objective=objective,
        hooks=[MoveSchedules.of(objective)],
        backprop=backprop_for(s.chunk_size),
        model=Classifier(online, head, s.classes, multi_label=s.multi_label),
        rates=s.rates_of(head),
    )
