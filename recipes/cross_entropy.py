"""Cross-entropy: the plain classifier to compare with.

Each text is given one of its classes by a head on the encoder; with several labels a row, every class is a yes or no
of its own (binary cross-entropy). One view of each row, no contrast.

Source: the baseline of Suresh and Ong, Not All Negatives Are Equal, EMNLP 2021, https://arxiv.org/abs/2109.05427
Trained there on ELECTRA-base with batches of 10 for 5 epochs, AdamW 2e-5 with weight decay 0.01, linear decay; the
epoch with the best dev accuracy is kept.

    accuracy, ELECTRA   SST-5   SST-2   Empathetic-32   GoEmotions-27   ISEAR-7   EmoInt-4
    cross-entropy       57.1    94.4    58.3            64.8            71.4      85.5

The head starts as logistic regression on the frozen vectors; theirs has a hidden layer and starts at random
(`--set head=lcl`).

Columns `text` and `label`; or `labels`, a list, where a text has several. With several label columns, `--column
label=topic,tone`, each has a head of its own, and the loss is the mean of theirs; a row may lack some of its labels.
Each row is embedded once an epoch; `supcon` embeds it twice, `lcl` with its second encoder four times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textcl import (
    ClassifierSettings,
    CrossEntropy,
    Encoder,
    Method,
    PoolingSetting,
    Route,
    View,
    World,
    backprop_for,
    mean_of,
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
        pooling: How token states become one vector; as the model's folder says when empty, cls where it says nothing.
    """

    model: str = "google/electra-base-discriminator"
    batch_size: int = 10
    learning_rate: float = 2e-5
    weight_decay: float = 0.01
    max_length: int = 128
    pooling: PoolingSetting | None = None

    TAKES_COLUMNS: ClassVar[bool] = True


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
    heads = [each.head_for(online, s.head, s.head_dropout) for each in s.by_column]
    losses = [
        CrossEntropy(
            head,
            class_weights=each.weights,
            positive_weights=each.positive_weights,
            column=column if s.label_columns else None,
            world=world,
        )
        for column, (each, head) in enumerate(zip(s.by_column, heads, strict=True))
    ]
    return Method(
        views={"anchor": View("text")},
        encoders={"online": online},
        routes={"anchor": Route("online", "anchor")},
        objective=mean_of(losses),
        backprop=backprop_for(s.chunk_size),
        model=s.classifier(online, heads),
        rates=s.rates_of(*heads),
    )
