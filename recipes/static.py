"""Static: distil an encoder into a table of tokens.

A static model is the mean of its tokens' rows: no layer, no attention, many times as fast on a CPU. It begins as what
the teacher gives for each token of its vocabulary alone, turned to its main directions and weighed against frequent
tokens; then the table learns, from the teacher's vectors of whole sentences, what a mean of rows can learn of them.

Source: Tulkens and van Dongen 2024, https://github.com/MinishLab/model2vec (tokens alone, PCA, Zipf); Arora et al.,
ICLR 2017, https://openreview.net/forum?id=SyK00v5xx (SIF); Hinton et al. 2015, https://arxiv.org/abs/1503.02531 (kl)

    loss         what the student must match
    embeddings   the teacher's vectors by their cosine, through a linear layer that is left out afterwards
    similarity   the teacher's cosines within the batch
    kl           the teacher's ranking of the batch by each sentence

Expect the table without training to be as good as one of model2vec: an STS average of 67.6 from all-MiniLM-L6-v2, and
71.9 after 60 updates (eval/results/2026-11-28-static). They need a high learning rate, for a row moves only when its
token comes; cosines within the batch (similarity, kl) hardly taught anything there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from torch import nn

from textcl import (
    DistillEmbeddings,
    DistillSimilarity,
    Domain,
    Encoder,
    FrozenEncoder,
    Method,
    Route,
    TrainSettings,
    UserError,
    View,
    World,
    backprop_for,
    distil,
    is_static,
    is_static_model,
)

ROLES = ("text",)


@dataclass(frozen=True)
class Settings(TrainSettings):
    """all-MiniLM-L6-v2 as a table of 256 columns.

    Args:
        model: The encoder to distil, or a static model that goes on learning.
        teacher: Model whose vectors of sentences are learnt; the one that is distilled when empty.
        dimension: Columns of the table; as many as the teacher has at most.
        sif: A token of probability p, by its place in the vocabulary, weighs sif / (sif + p); 0 weighs all alike.
        words: File with words, one a line, that get a row of their own beside the tokens of the teacher.
        loss: What the student must match.
        temperature: Of loss=kl only.
    """

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    batch_size: int = 256
    learning_rate: float = 2e-2
    max_length: int = 128
    teacher: str = ""
    dimension: Annotated[int, Domain(at_least=1)] = 256
    sif: Annotated[float, Domain(at_least=0)] = 1e-4
    words: str = ""
    loss: Literal["embeddings", "similarity", "kl"] = "embeddings"
    temperature: Annotated[float, Domain(above=0)] = 0.05

    def check_start(self) -> None:
        """Refuse settings of layers, a teacher that has none, and words that are not there."""
        for name, value in (
            ("dropout", self.dropout),
            ("adapter", self.adapter),
            ("bidirectional", self.bidirectional),
        ):
            if value is not None:
                raise UserError(
                    f"{name}={value} changes layers, and a static model has none: leave it out"
                )
        static = {model: is_static_model(model) for model in (self.model, self.teacher) if model}
        if static[teacher := self.teacher or self.model]:
            raise UserError(f"{teacher} is static itself: name the teacher, --set teacher=MODEL")
        words_of(self.words)


def build(s: Settings, world: World) -> Method:
    """The method."""
    s.check_start()
    start = Encoder.from_pretrained(s.model, num_layers=s.num_layers)
    teacher = Encoder.from_pretrained(s.teacher) if s.teacher else start
    online = (
        start
        if is_static(start.backbone)
        else distil(start, dimension=s.dimension, sif=s.sif, words=words_of(s.words))
    )
    online.max_length = s.reading_length or online.max_length
    return Method(
        views={"anchor": View("text"), "taught": View("text")},
        encoders={"online": online, "teacher": FrozenEncoder(teacher, teacher.finish)},
        routes={"anchor": Route("online", "anchor"), "teacher": Route("teacher", "taught")},
        objective=objective(s, online.dimension, teacher.dimension, world),
        backprop=backprop_for(s.chunk_size),
        read_by={"taught": teacher},
    )


def objective(s: Settings, student: int, teacher: int, world: World) -> nn.Module:
    """Scores of the teacher, which the student must match."""
    if s.loss == "embeddings":
        project = nn.Linear(student, teacher)
        return DistillEmbeddings(metric="cosine", project=project, world=world)
    measure = "mse" if s.loss == "similarity" else "kl"
    return DistillSimilarity(measure, temperature=s.temperature, world=world)


def words_of(file: str) -> list[str]:
    """The words of a file."""
    if not file:
        return []
    try:
        return Path(file).read_text(encoding="utf-8").split()
    except (OSError, UnicodeError) as error:
        raise UserError(f"setting words names {file}, which cannot be read: {error}") from error
