"""Pairs: find the positive among batch and negatives.

The job that most people bring: questions with their answers, queries with their passages, titles with their texts. The
positives of the other rows of a batch are the negatives, so large batches help (`chunk_size` keeps their memory small),
and hard negatives that were mined for each anchor help more. Texts that are equal, or of one document, are never
pushed apart.

Columns: `anchor` and `positive`, or a list `positives` of which one is drawn an epoch; hard negatives in `negative`,
`negative_1`, `negative_2`, … or in a list `negatives`, any number of them, in some rows more than in others; ids of the
documents in `positive_id` and `negative_id`, `negative_1_id`, … (or lists `positive_ids`, `negative_ids`), which
then say what is the same document.

Source: Henderson et al. 2017, https://arxiv.org/abs/1705.00652 (in-batch negatives); Karpukhin et al. 2020,
https://arxiv.org/abs/2004.04906 (hard negatives); Li et al. 2023, https://arxiv.org/abs/2308.03281 (four directions)

    directions   each anchor i is contrasted with
    one          all positives and hard negatives
    both         and, in a second softmax, each positive with all anchors; the mean of the two
    four         in one softmax: as one, with the other anchors, and its positive with all anchors, the other positives
                 and the hard negatives of other rows

Expect most of the gain in the first few hundred updates; dev is nDCG@10.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from textcl import (
    FOUR_WAYS,
    Contrastive,
    JointDirections,
    Method,
    MoveSchedules,
    PairSettings,
    PairTable,
    TemperatureSetting,
    WeightedSum,
    World,
    as_temperature,
    backprop_for,
)

ROLES = ("anchor", "positive")

PRESETS = {
    "bert-base-uncased": {"learning_rate": 2e-5},
    "all-MiniLM-L6-v2": {"learning_rate": 5e-5},
}


@dataclass(frozen=True)
class Settings(PairSettings):
    """Settings that are usual for base models.

    Args:
        temperature: Number, "learnable:0.05", or a schedule such as "cosine:0.1:0.05".
        directions: Who looks for whom.
    """

    learning_rate: float = 2e-5
    warmup: float = 0.1
    temperature: TemperatureSetting = 0.05
    directions: Literal["one", "both", "four"] = "one"


def build(s: Settings, world: World) -> Method:
    """The method."""
    online = s.load_encoder()
    objective = objective_of(s, world)
    return Method(
        views=s.views(online),
        encoders={"online": online},
        routes=s.routes(),
        objective=objective,
        hooks=[MoveSchedules.of(objective)],
        backprop=backprop_for(s.chunk_size),
    )


def objective_of(s: Settings, world: World) -> nn.Module:
    """The loss in the directions that are asked for."""
    temperature, masks = as_temperature(s.temperature), s.masks(world)
    if s.directions == "four":
        four = PairTable(negatives=s.negative_names, terms=FOUR_WAYS)
        return JointDirections(temperature, four, masks, world=world)
    forward = Contrastive(PairTable(negatives=s.negative_names), temperature, masks, world=world)
    if s.directions == "one":
        return forward
    back = Contrastive(PairTable("positive", "anchor"), temperature, masks, world=world)
    return WeightedSum([(0.5, forward), (0.5, back)])
