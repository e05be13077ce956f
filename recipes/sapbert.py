"""SapBERT: names of one concept come together.

For linking mentions to a dictionary: each concept has several names, each batch two of one concept, and a miner leaves
only the pairs that say something: positives that are hardly nearer than a negative, and negatives that are nearly as
near as a positive. The Multi-Similarity loss then weighs them by how hard they are.

Columns: `text`, a name, and `label`, the id of its concept.

Source: Liu et al., SapBERT, NAACL 2021, https://arxiv.org/abs/2010.11784; Wang et al. 2019,
https://arxiv.org/abs/1904.06627 (the loss)
Trained in the paper on the 4M names of UMLS for one epoch of pairs, [CLS] of PubMedBERT, batches of 256 pairs, length
25. Rows of published tables:

    PubMedBERT          NCBI disease, acc@1
    before                   77.8
    after                    92.0

Expect `pairs` in the log, what the miner left, to fall: fewer and fewer pairs have anything to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from textcl import (
    ConceptSettings,
    Domain,
    Encoder,
    Method,
    MultiSimilarity,
    PoolingSetting,
    Route,
    View,
    World,
    backprop_for,
)

ROLES = ("text", "label")


@dataclass(frozen=True)
class Settings(ConceptSettings):
    """Settings of the authors' code.

    Args:
        alpha: How much the hardest positive outweighs the others.
        beta: How much the hardest negative outweighs the others.
        base: A cosine between those of positives and negatives.
        miner_margin: Pairs of triplets count whose negative is farther than the positive by at most this distance.
        pooling: How token states become one vector; as the model's folder says when empty, cls where it says nothing.
    """

    learning_rate: float = 2e-5
    weight_decay: float = 0.01
    max_length: int = 25
    alpha: Annotated[float, Domain(above=0)] = 1.0
    beta: Annotated[float, Domain(above=0)] = 60.0
    base: Annotated[float, Domain(at_least=-1, at_most=1)] = 0.5
    miner_margin: Annotated[float, Domain(at_least=0)] = 0.2
    pooling: PoolingSetting | None = None


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
    return Method(
        views={"anchor": View("text")},
        encoders={"online": online},
        routes={"anchor": Route("online", "anchor")},
        objective=MultiSimilarity(
            s.alpha, s.beta, s.base, miner_margin=s.miner_margin, world=world
        ),
        backprop=backprop_for(s.chunk_size),
    )
