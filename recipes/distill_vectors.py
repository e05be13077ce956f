"""Distillation from stored vectors of any teacher.

The teacher is not needed any more: its vectors were stored beside the texts, by `textcl encode` or any other program.
So the student may have another tokenizer, another language and another width; a linear layer that is trained with it
brings its vectors to the teacher's width.

Columns: `text`, and `vector`, a list of numbers.

Source: Reimers and Gurevych, EMNLP 2020, https://arxiv.org/abs/2004.09813; Kim et al. 2023 (EmbedDistill),
https://arxiv.org/abs/2301.12005

    metric     loss of a text
    cosine     1 - cosine
    mse        mean squared difference over dimensions
    l2         distance

Expect to need many texts, as `distill` does. With projection=keep the layer stays part of the model, whose vectors
can then be searched in an index of the teacher's; with projection=train it is left out, and the student keeps its own
width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from textcl import (
    DistillEmbeddings,
    Encoder,
    Method,
    PoolingSetting,
    Route,
    VectorSettings,
    View,
    World,
    backprop_for,
)

ROLES = ("text", "vector")

PRESETS = {"all-MiniLM-L6-v2": {"num_layers": 3}}


@dataclass(frozen=True)
class Settings(VectorSettings):
    """Three layers of all-MiniLM-L6-v2 learn from what is stored.

    Args:
        metric: What the student must match.
        projection: What becomes of the layer that brings the student to the teacher's width, where they differ.
        pooling: How token states become one vector; as the model's folder says when empty, mean where it says nothing.
    """

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    num_layers: int | None = 3
    batch_size: int = 128
    learning_rate: float = 1e-4
    max_length: int = 64
    metric: Literal["cosine", "mse", "l2"] = "cosine"
    projection: Literal["keep", "train"] = "keep"
    pooling: PoolingSetting | None = None


def build(s: Settings, world: World) -> Method:
    """The method."""
    online = Encoder.from_pretrained(
        s.model,
        pooling=s.pooling,
        default_pooling="mean",
        max_length=s.reading_length,
        num_layers=s.num_layers,
        dropout=s.dropout,
        bidirectional=s.bidirectional,
        weights=s.base_weights,
        adapter=s.adapter,
    )
    project = None
    if s.vector_size not in (0, online.dimension):
        linear = nn.Linear(online.dimension, s.vector_size, device=online.device)
        if s.projection == "keep":
            online.dense.append(nn.Sequential(linear, nn.Identity()))
        else:
            project = linear
    return Method(
        views={"anchor": View("text")},
        encoders={"online": online},
        routes={"anchor": Route("online", "anchor")},
        objective=DistillEmbeddings(teacher=None, metric=s.metric, project=project, world=world),
        backprop=backprop_for(s.chunk_size),
        similarity="cosine" if s.metric == "cosine" else None,
    )
