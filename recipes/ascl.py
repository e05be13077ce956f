"""ASCL: the key's neighbours in the queue are positives.

MoCo for text whose target is soft: keys in the queue that are near the anchor's own key share the target with it,
weighed by how peaked the key's similarities are. The key sees the plain sentence, the query one with tokens cut.

Source: Feng and Patras, Adaptive Soft Contrastive Learning, ICPR 2022, https://arxiv.org/abs/2207.11163

                       queue    momentum   temperature   of the softening   neighbours
    small images        4096      .99          .1              .05               1
    ImageNet           65536      .999         .1              .05               1

The paper works on images, where it is among the best of the methods with one backward pass; no score on text is
published. softening=ahcl takes the nearest with the key's confidence, hard takes them in full, normal is MoCo. The loss
is 0 until the queue holds something; a queue larger than the corpus holds every sentence several times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from textcl import (
    AnchorPositive,
    AppendQueue,
    Contrastive,
    CutTokens,
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
    Route,
    SoftQueueTargets,
    TemperatureSetting,
    TrainSettings,
    View,
    World,
    as_temperature,
    backprop_for,
    only_own_positive,
)

ROLES = ("text",)

PRESETS = {
    "bert-base-uncased": {"batch_size": 64, "learning_rate": 3e-5},
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
    """The paper's numbers for small images, rates of SimCSE for BERT-base.

    Args:
        temperature: Number, "learnable:0.1", or a schedule such as "cosine:0.2:0.1".
        softening: How neighbours are weighed.
        softening_temperature: Of the key's softmax over the queue.
        neighbours: How many neighbours are looked for.
        cutoff: Share of the query's tokens that is cut.
        pooling: How token states become one vector; as the model's folder says when empty, cls where it says nothing.
        head: MLP on the pooled vector: "train" leaves it out after training, "keep" keeps it, "none" has none.
        queue: Keys in the queue.
        momentum: What the moving average keeps of itself at each update.
        mask_duplicates: Do not take a sentence or key of equal text for a negative.
    """

    temperature: TemperatureSetting = 0.1
    softening: Literal["ascl", "ahcl", "hard", "normal"] = "ascl"
    softening_temperature: Annotated[float, Domain(above=0)] = 0.05
    neighbours: Annotated[int, Domain(at_least=1)] = 1
    cutoff: Annotated[float, Domain(at_least=0, below=1)] = 0.1
    pooling: PoolingSetting | None = None
    head: Literal["train", "keep", "none"] = "train"
    queue: Annotated[int, Domain(at_least=1, at_most=2**24)] = 4096
    momentum: Annotated[float, Domain(at_least=0, at_most=1)] = 0.99
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
    momentum = MomentumEncoder(online, s.momentum)
    queue = MemoryQueue(s.queue, online.dimension)
    soften = SoftQueueTargets(s.softening, s.softening_temperature, s.neighbours, key="key")
    duplicates = [MaskDuplicates()] if s.mask_duplicates else []
    objective = Contrastive(
        AnchorPositive(positive="key"),
        as_temperature(s.temperature),
        [only_own_positive, AppendQueue(queue), *duplicates, soften],
        world=world,
    )
    return Method(
        views={"anchor": View("text", changes=(CutTokens(s.cutoff),)), "weak": View("text")},
        encoders={"online": online, "momentum": momentum},
        routes={"anchor": Route("online", "anchor"), "key": Route("momentum", "weak")},
        objective=objective,
        hooks=[
            Enqueue(queue, "key"),
            MoveMomentum(momentum, online),
            MoveSchedules.of(objective),
        ],
        state={"queue": queue},
        backprop=backprop_for(s.chunk_size),
    )
