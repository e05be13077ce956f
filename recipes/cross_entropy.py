"""Cross-entropy: the plain classifier, beside which the contrastive ones are measured.

Each text is given one of its classes by a head on the encoder; with several labels a row, every class is a yes or no
of its own (binary cross-entropy). One view of each row, no contrast.

Source: the baseline of Suresh and Ong, Not All Negatives Are Equal, EMNLP 2021, https://arxiv.org/abs/2109.05427
Trained there on ELECTRA-base with batches of 10 for 5 epochs, AdamW 2e-5 with weight decay 0.01, linear decay; the
epoch with the best dev accuracy is kept.

    accuracy, ELECTRA   SST-5   SST-2   Empathetic-32   GoEmotions-27   ISEAR-7   EmoInt-4
    cross-entropy       57.1    94.4    58.3            64.8            71.4      85.5

Columns `text` and `label`; or `labels`, a list, where a text has several. Each row is embedded once an epoch; `supcon`
embeds it twice, `lcl` with its second encoder four times.
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
    Method,
    PoolingSetting,
    Route,
    View,
    World,
    backprop_for,
)

ROLES = ("text", "label|labels")

PRESETS = {
    "all-MiniLM-L6-v2": {
        "batch_size": 32,
        "learning_rate": 1e-4,
        "pooling": "mean",
        "head": "own",
    },
}


@dataclass(frozen=True)
class Settings(ClassifierSettings):
    """Settings of the paper for ELECTRA-base.

    Args:
        pooling: How token states become one vector.
        head: "lcl" is the head of the authors' code; "own" the one that transformers has for the architecture, with
            which (and cls pooling) the saved folder loads there too.
        head_dropout: Dropout inside the head.
    """

    model: str = "google/electra-base-discriminator"
    batch_size: int = 10
    learning_rate: float = 2e-5
    epochs: float = 5.0
    weight_decay: float = 0.01
    max_length: int = 128
    pooling: PoolingSetting = "cls"
    head: Literal["lcl", "own"] = "lcl"
    head_dropout: Annotated[float, Domain(at_least=0, below=1)] = 0.1


def build(s: Settings, world: World) -> Method:
    """The method."""
    online = Encoder.from_pretrained(
        s.model,
        pooling=s.pooling,
        max_length=s.max_length,
        num_layers=s.num_layers,
        dropout=s.dropout,
    )
    head = s.head_for(online, s.head, s.head_dropout)
    return Method(
        views={"anchor": View("text")},
        encoders={"online": online},
        routes={"anchor": Route("online", "anchor")},
        objective=CrossEntropy(head, class_weights=s.weights, world=world),
        backprop=backprop_for(s.chunk_size),
        model=Classifier(online, head, s.classes, multi_label=s.multi_label),
    )
