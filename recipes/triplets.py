"""Triplets: nearer to the positive, by a margin.

The oldest loss of the kind: only the negatives that are given count, the other rows of the batch do not. It fits where
other rows of a batch may well be right answers, so that pushing them away would be wrong. Where they are not, `pairs`
reads the same columns and learns from the whole batch.

Columns as for `pairs`; several negatives of a row make several triplets.

Source: Schroff et al. 2015, https://arxiv.org/abs/1503.03832; Reimers and Gurevych, EMNLP 2019,
https://arxiv.org/abs/1908.10084

    paper            distance     margin   batch size   learning rate
    Sentence-BERT    euclidean      1          16           2e-5

Expect the loss to fall quickly, since most negatives are soon far enough; `triplets` in the log counts all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from textcl import (
    Domain,
    GivenTriplets,
    Method,
    PairSettings,
    World,
    backprop_for,
)

ROLES = ("anchor", "positive", "negative")


@dataclass(frozen=True)
class Settings(PairSettings):
    """Settings of Sentence-BERT.

    Args:
        margin: By how much a negative must be farther from the anchor than its positive.
        distance: How rows are compared: as they are, with length 1, or by 1 - cosine.
        counted: Whether triplets that lose nothing count in the mean, too.
        mask_duplicates: Not used: only the negatives that are given count.
        mask_margin: Not used.
    """

    NEEDS_NEGATIVE: ClassVar[bool] = True

    batch_size: int = 16
    learning_rate: float = 2e-5
    warmup: float = 0.1
    margin: Annotated[float, Domain(at_least=0)] = 1.0
    distance: Literal["euclidean", "euclidean_unit", "cosine"] = "euclidean"
    counted: Literal["all", "above_0"] = "all"


def build(s: Settings, world: World) -> Method:
    """The method."""
    online = s.load_encoder()
    objective = GivenTriplets(
        s.margin,
        distance=s.distance,
        reduction="mean" if s.counted == "all" else "avg_nonzero",
        names=("anchor", "positive", *s.negative_names),
        world=world,
    )
    return Method(
        views=s.views(online),
        encoders={"online": online},
        routes=s.routes(),
        objective=objective,
        backprop=backprop_for(s.chunk_size),
        similarity=None if s.distance == "euclidean" else "cosine",
    )
