"""Matryoshka: leading dimensions are embeddings too.

Unsupervised SimCSE whose loss is summed over the whole embedding, its first half, its first quarter, and so on. Users
then cut vectors to what they can store (`encode(…, truncate_dim=…)`) and normalise what is left.

Source: Kusupati et al., Matryoshka Representation Learning, NeurIPS 2022, https://arxiv.org/abs/2205.13147
The paper halves 2048 dimensions eight times (ResNet-50) and 768 six times (BERT-base), all with weight 1, and finds
each width as good as a model trained at that width alone. It reports no sentence similarity.

    backbone            halvings   widths
    BERT-base               6      768, 384, 192, 96, 48, 24, 12
    all-MiniLM-L6-v2        4      384, 192, 96, 48, 24

Expect the full width to lose next to nothing, and the short ones to gain much over cutting an ordinary model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from textcl import (
    AnchorPositive,
    Contrastive,
    Domain,
    Encoder,
    MaskDuplicates,
    Matryoshka,
    Method,
    MoveSchedules,
    PoolingSetting,
    Route,
    TemperatureSetting,
    TrainSettings,
    UserError,
    View,
    World,
    as_temperature,
    backprop_for,
)

ROLES = ("text",)

PRESETS = {
    "bert-base-uncased": {"halvings": 6},
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
    """Settings of SimCSE for BERT-base.

    Args:
        temperature: Number, "learnable:0.05", or a schedule such as "cosine:0.1:0.05".
        halvings: How often the width is halved; the loss is summed over all widths.
        pooling: How token states become one vector; as the model's folder says when empty, cls where it says nothing.
        head: MLP on the pooled vector: "keep" keeps it after training, "none" has none. One that is left out would
            take the order of the dimensions with it.
        mask_duplicates: Do not take a sentence of equal text for a negative.
    """

    temperature: TemperatureSetting = 0.05
    halvings: Annotated[int, Domain(at_least=0, at_most=16)] = 4
    pooling: PoolingSetting | None = None
    head: Literal["keep", "none"] = "keep"
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
    if online.dimension >> s.halvings == 0:
        raise UserError(
            f"setting halvings is {s.halvings}, and the {online.dimension} dimensions of {s.model} can be halved "
            f"{online.dimension.bit_length() - 1} times"
        )
    if s.head != "none":
        online.add_projector(keep=True)
    duplicates = [MaskDuplicates()] if s.mask_duplicates else []
    whole = Contrastive(AnchorPositive(), as_temperature(s.temperature), duplicates, world=world)
    objective = Matryoshka(
        whole, [online.dimension >> halving for halving in range(s.halvings + 1)]
    )
    return Method(
        views={"anchor": View("text")},
        encoders={"online": online},
        routes={"anchor": Route("online", "anchor"), "positive": Route("online", "anchor")},
        objective=objective,
        hooks=[MoveSchedules.of(objective)],
        backprop=backprop_for(s.chunk_size),
    )
