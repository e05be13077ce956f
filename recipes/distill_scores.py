"""Distillation from a reranker: learn stored scores.

A cross-encoder reads query and passage together, is much better than an encoder, and too slow to search with. Its
scores of mined negatives are computed once and stored with the rows; the encoder learns the margins between them, or
their distribution over each list. A negative that is in truth a positive then does no harm: its score says so.

Columns as for `pairs`, with `scores`: a list of numbers, that of the positive first, then those of the negatives in
their order.

Source: Hofstätter et al. 2020, https://arxiv.org/abs/2010.02666 (margin-mse); Lin et al. 2020,
https://arxiv.org/abs/2010.11386 (kl)

    loss         matches                                              similarity
    margin-mse   score of the positive minus that of each negative    dot products, whose size is free
    kl           softmax over positive and negatives                  cosines divided by temperature

Expect margin-mse to need dot products: scores of rerankers differ by more than cosines can. With kl a teacher whose
scores lie far apart says nothing but which is best; a teacher_temperature of some units softens it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from textcl import (
    DistillScores,
    Domain,
    Method,
    PairSettings,
    World,
    backprop_for,
)

ROLES = ("anchor", "positive", "negative", "scores")


@dataclass(frozen=True)
class Settings(PairSettings):
    """Small steps, as margins of scores ask for.

    Args:
        loss: What the student must match.
        similarity: How the student compares texts: dot for margin-mse, cosine for kl when empty.
        temperature: What divides the student's similarities, of loss=kl only.
        teacher_temperature: What divides the scores, of loss=kl only.
        mask_duplicates: Not used: only the texts with scores count.
        mask_margin: Not used.
    """

    NEEDS_NEGATIVE: ClassVar[bool] = True

    batch_size: int = 32
    learning_rate: float = 7e-6
    warmup: float = 0.1
    loss: Literal["margin-mse", "kl"] = "margin-mse"
    similarity: Literal["dot", "cosine"] | None = None
    temperature: Annotated[float, Domain(above=0)] = 0.05
    teacher_temperature: Annotated[float, Domain(above=0)] = 1.0


def build(s: Settings, world: World) -> Method:
    """The method."""
    online = s.load_encoder()
    similarity = s.similarity or ("dot" if s.loss == "margin-mse" else "cosine")
    objective = DistillScores(
        s.loss,
        names=("anchor", "positive", *s.negative_names),
        cosine=similarity == "cosine",
        temperature=s.temperature,
        teacher_temperature=s.teacher_temperature,
        world=world,
    )
    return Method(
        views=s.views(online),
        encoders={"online": online},
        routes=s.routes(),
        objective=objective,
        backprop=backprop_for(s.chunk_size),
        similarity=similarity,
    )
