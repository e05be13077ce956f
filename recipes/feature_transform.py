"""Feature transformation of positives and negatives.

MoCo for text whose query and key are extrapolated away from each other, which makes the positive harder, and whose
queue is mixed with a shuffled copy of itself at every step, which makes new negatives. The mixed vectors leave the
unit sphere; the stored keys stay as they were.

Source: Zhu et al., Improving Contrastive Learning by Visualizing Feature Transformation, ICCV 2021,
https://arxiv.org/abs/2108.02982

    ImageNet-1k, ResNet-50, 200 epochs     linear accuracy
    MoCo-v1 → with transformation            60.6 → 61.9
    MoCo-v2 → with transformation            67.5 → 69.6

The coefficients are 1 + Beta(2, 2) for positives and Beta(1.6, 1.6) for negatives, one each a step. Queue and momentum
are those of `moco`. No score on text is published; the log shows how scores and gradient weights change against
`moco`. On a small encoder and 40 updates all of it is seen, and none of it helps: see eval/results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from textcl import (
    AnchorPositive,
    AppendQueue,
    BetaMix,
    Contrastive,
    Domain,
    Encoder,
    Enqueue,
    ExtrapolatePositives,
    FromEpoch,
    InterpolateQueue,
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
    """The paper's mixing, queue and rates of ESimCSE for BERT-base.

    Args:
        temperature: Number, "learnable:0.05", or a schedule such as "cosine:0.1:0.05".
        pooling: How token states become one vector; as the model's folder says when empty, cls where it says nothing.
        head: MLP on the pooled vector: "train" leaves it out after training, "keep" keeps it, "none" has none.
        queue: Keys in the queue.
        momentum: What the moving average keeps of itself at each update.
        targets: What is mixed: positives, negatives or both.
        positive_alpha: Both parameters of the Beta of the positives.
        negative_alpha: Both parameters of the Beta of the negatives.
        level: One coefficient for a step ("scalar"), a row, or a number ("dimension").
        start_epoch: Epochs that pass before anything is mixed.
        mask_duplicates: Do not take a sentence or key of equal text for a negative.
    """

    temperature: TemperatureSetting = 0.05
    pooling: PoolingSetting | None = None
    head: Literal["train", "keep", "none"] = "train"
    queue: Annotated[int, Domain(at_least=1, at_most=2**24)] = 160
    momentum: Annotated[float, Domain(at_least=0, at_most=1)] = 0.995
    targets: Literal["pos", "neg", "posneg"] = "posneg"
    positive_alpha: Annotated[float, Domain(above=0)] = 2.0
    negative_alpha: Annotated[float, Domain(above=0)] = 1.6
    level: Literal["scalar", "row", "dimension"] = "scalar"
    start_epoch: Annotated[int, Domain(at_least=0)] = 0
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
    outwards = BetaMix(s.positive_alpha, s.level, shift=1.0, seed=s.seed)
    inwards = BetaMix(s.negative_alpha, s.level, seed=s.seed + 1)
    harder = [FromEpoch(ExtrapolatePositives(outwards), s.start_epoch)] * ("pos" in s.targets)
    varied = [FromEpoch(InterpolateQueue(inwards), s.start_epoch)] * ("neg" in s.targets)
    duplicates = [MaskDuplicates()] if s.mask_duplicates else []
    objective = Contrastive(
        AnchorPositive(positive="key"),
        as_temperature(s.temperature),
        [*harder, only_own_positive, AppendQueue(queue), *duplicates, *varied],
        world=world,
    )
    return Method(
        views={"anchor": View("text")},
        encoders={"online": online, "momentum": momentum},
        routes={"anchor": Route("online", "anchor"), "key": Route("momentum", "anchor")},
        objective=objective,
        hooks=[
            *harder,
            *varied,
            Enqueue(queue, "key"),
            MoveMomentum(momentum, online),
            MoveSchedules.of(objective),
        ],
        state={"queue": queue, "outwards": outwards, "inwards": inwards},
        backprop=backprop_for(s.chunk_size),
    )
