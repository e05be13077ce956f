"""ESimCSE: repeated words, and a queue of negatives.

Unsupervised SimCSE takes sentences of equal length for similar, because its positives have equal lengths; repeated
words break that. A queue holds sentences of the last batches, embedded without dropout by a slowly following copy of
the encoder.

Source: Wu et al., ESimCSE, COLING 2022, https://arxiv.org/abs/2109.04380
Trained in the paper on 10⁶ Wikipedia sentences for one epoch with batches of 64, momentum 0.995, temperature 0.05.

    backbone        learning rate   queue   repeated   dropout   7 STS tasks, Spearman × 100, "all"
    BERT-base           3e-5         160      .32        .1        78.27
    BERT-large          1e-5         160      .32        .1        79.31
    RoBERTa-base        1e-5         160      .30        .1        77.44
    RoBERTa-large       1e-5         128      .28        .15       79.45

Expect a point or two over `unsup-simcse`. The authors' code sends the keys through the online head: head=shared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from textcl import (
    AnchorPositive,
    AppendQueue,
    Contrastive,
    Domain,
    Encoder,
    Enqueue,
    MaskDuplicates,
    MemoryQueue,
    Method,
    MomentumEncoder,
    MoveMomentum,
    MoveSchedules,
    PoolingSetting,
    RepeatWords,
    Route,
    TemperatureSetting,
    TrainSettings,
    View,
    World,
    as_temperature,
    backprop_for,
)

ROLES = ("text",)

PRESETS = {
    "bert-large-uncased": {"learning_rate": 1e-5},
    "roberta-base": {"learning_rate": 1e-5, "repeat": 0.30},
    "roberta-large": {"learning_rate": 1e-5, "repeat": 0.28, "queue": 128, "dropout": 0.15},
    "all-MiniLM-L6-v2": {
        "batch_size": 128,
        "learning_rate": 5e-5,
        "max_length": 50,
        "pooling": "mean",
        "head": "none",
        "queue": 320,
    },
}


@dataclass(frozen=True)
class Settings(TrainSettings):
    """Settings of the paper for BERT-base.

    Args:
        temperature: Number, "learnable:0.05", or a schedule such as "cosine:0.1:0.05".
        pooling: How token states become one vector; as the model's folder says when empty, cls where it says nothing.
        head: MLP on the pooled vector: "train" leaves it out after training, "keep" keeps it, "none" has none, and
            "shared" is "train" with the keys going through the online head, as in the authors' code.
        repeat: Share of words that bounds how many are repeated.
        queue: Sentences in the queue; the paper takes 2.5 batches.
        momentum: What the copy keeps of itself at each update.
        mask_duplicates: Do not take a sentence or key of equal text for a negative.
    """

    temperature: TemperatureSetting = 0.05
    pooling: PoolingSetting | None = None
    head: Literal["train", "keep", "none", "shared"] = "train"
    repeat: Annotated[float, Domain(at_least=0, below=1)] = 0.32
    queue: Annotated[int, Domain(at_least=1, at_most=2**24)] = 160
    momentum: Annotated[float, Domain(at_least=0, at_most=1)] = 0.995
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
    shared = ("projector",) if s.head == "shared" else ()
    momentum = MomentumEncoder(online, s.momentum, shared=shared, dropout=False)
    queue = MemoryQueue(s.queue, online.dimension)
    duplicates = [MaskDuplicates()] if s.mask_duplicates else []
    objective = Contrastive(
        AnchorPositive(),
        as_temperature(s.temperature),
        [AppendQueue(queue), *duplicates],
        world=world,
    )
    return Method(
        views={"anchor": View("text"), "positive": View("text", (RepeatWords(s.repeat),))},
        encoders={"online": online, "momentum": momentum},
        routes={
            "anchor": Route("online", "anchor"),
            "positive": Route("online", "positive"),
            "key": Route("momentum", "anchor"),
        },
        objective=objective,
        hooks=[
            Enqueue(queue, "key"),
            MoveMomentum(momentum, online),
            MoveSchedules.of(objective),
        ],
        state={"queue": queue},
        backprop=backprop_for(s.chunk_size),
    )
