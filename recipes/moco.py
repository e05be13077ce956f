"""MoCo: a queue of negatives from a following encoder.

Each sentence goes through the online encoder (query) and through a moving average of it (key), each with a dropout
mask of its own. A query picks its own key among the keys in a queue, so that the number of negatives does not depend
on the batch.

Source: He et al., Momentum Contrast, CVPR 2020, https://arxiv.org/abs/1911.05722

                                queue    momentum   temperature
    ImageNet, ResNet-50         65536      .999        .07        60.6 % linear accuracy after 200 epochs
    text (default here)        2.5 batches .995        .05        values of ESimCSE; no published score of MoCo alone

The loss is 0 until the queue holds something, which takes one batch. A sentence that comes back in the next epoch
meets its own older key: mask_duplicates=true takes it out. Few updates suit a lower momentum.
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
    Route,
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
        "queue": 320,
    },
}


@dataclass(frozen=True)
class Settings(TrainSettings):
    """Values of ESimCSE for BERT-base.

    Args:
        temperature: Number, "learnable:0.05", or a schedule such as "cosine:0.1:0.05".
        pooling: How token states become one vector; as the model's folder says when empty, cls where it says nothing.
        head: MLP on the pooled vector: "train" leaves it out after training, "keep" keeps it, "none" has none.
        queue: Keys in the queue.
        momentum: What the moving average keeps of itself at each update.
        in_batch_keys: Take the keys of the other sentences of the batch for negatives too.
        mask_duplicates: Do not take a key of equal text for a negative.
    """

    temperature: TemperatureSetting = 0.05
    pooling: PoolingSetting | None = None
    head: Literal["train", "keep", "none"] = "train"
    queue: Annotated[int, Domain(at_least=1, at_most=2**24)] = 160
    momentum: Annotated[float, Domain(at_least=0, at_most=1)] = 0.995
    in_batch_keys: bool = False
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
    transforms = [
        *([] if s.in_batch_keys else [only_own_positive]),
        AppendQueue(queue),
        *([MaskDuplicates()] if s.mask_duplicates else []),
    ]
    objective = Contrastive(
        AnchorPositive(positive="key"), as_temperature(s.temperature), transforms, world=world
    )
    return Method(
        views={"anchor": View("text")},
        encoders={"online": online, "momentum": momentum},
        routes={"anchor": Route("online", "anchor"), "key": Route("momentum", "anchor")},
        objective=objective,
        hooks=[
            Enqueue(queue, "key"),
            MoveMomentum(momentum, online),
            MoveSchedules.of(objective),
        ],
        state={"queue": queue},
        backprop=backprop_for(s.chunk_size),
    )
