"""Distillation: learn a large encoder's embeddings.

The teacher embeds every sentence at rest, the student must arrive at the same vector (embeddings), at the same cosines
within the batch (similarity), or at the same ranking of the batch by each sentence (kl). By default the student is the
first layers of its own teacher. Both read the same tokens, so they need the same vocabulary, and the student takes over
the prompts of its teacher, whose vectors are those that its `encode` gives: of length 1 where its folder says so.

Source: Reimers and Gurevych, EMNLP 2020, https://arxiv.org/abs/2004.09813 (embeddings); Hinton et al. 2015,
https://arxiv.org/abs/1503.02531 (kl)
The first paper trains for 5 epochs or more with batches of 64 at 2e-5, with a student of another language; it gives no
score for a smaller student of the same one.

    student of all-MiniLM-L6-v2      learning rate   batch size
    its first 3 layers                   1e-4           128

Expect to need many sentences: 40 updates of 128 took the STS average from 58.58 to 64.04, where the teacher has 78.87
(eval/results/2026-11-24-recipes-minilm3, with teacher vectors as they were before they got length 1), with the best dev
after 20. With widths that differ,
loss=embeddings trains a projection beside the student, which is left out afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import nn

from textcl import (
    DistillEmbeddings,
    DistillSimilarity,
    Domain,
    Encoder,
    FrozenEncoder,
    Method,
    PoolingSetting,
    Route,
    TrainSettings,
    UserError,
    View,
    World,
    backprop_for,
)

ROLES = ("text",)

PRESETS = {"all-MiniLM-L6-v2": {"num_layers": 3}}


@dataclass(frozen=True)
class Settings(TrainSettings):
    """Three layers of all-MiniLM-L6-v2 learn from all six.

    Args:
        teacher: Model to learn from; the student's own model with all its layers when empty.
        loss: What the student must match.
        temperature: Of loss=kl only.
        pooling: How the student's token states become one vector; as its folder says when empty, mean where it says
            nothing. The teacher keeps its own.
    """

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    num_layers: int | None = 3
    batch_size: int = 128
    learning_rate: float = 1e-4
    max_length: int = 64
    teacher: str = ""
    loss: Literal["embeddings", "similarity", "kl"] = "embeddings"
    temperature: Annotated[float, Domain(above=0)] = 0.05
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
    teacher = Encoder.from_pretrained(s.teacher or s.model)
    if teacher.tokenizer.get_vocab() != online.tokenizer.get_vocab():
        raise UserError(
            f"the student {s.model} and the teacher {s.teacher} have different vocabularies, but read the same tokens: "
            "choose a teacher with the student's tokenizer"
        )
    if s.prompt is None:
        online.prompts, online.default_prompt = dict(teacher.prompts), teacher.default_prompt
    return Method(
        views={"anchor": View("text")},
        encoders={"online": online, "teacher": FrozenEncoder(teacher, teacher.finish)},
        routes={"anchor": Route("online", "anchor"), "teacher": Route("teacher", "anchor")},
        objective=objective(s, online.dimension, teacher.dimension, world),
        backprop=backprop_for(s.chunk_size),
        similarity=None if s.loss == "embeddings" else "cosine",
    )


def objective(s: Settings, student: int, teacher: int, world: World) -> nn.Module:
    """Scores of the teacher, which the student must match."""
    if s.loss == "embeddings":
        project = None if student == teacher else nn.Linear(student, teacher)
        return DistillEmbeddings(project=project, world=world)
    measure = "mse" if s.loss == "similarity" else "kl"
    return DistillSimilarity(measure, temperature=s.temperature, world=world)
