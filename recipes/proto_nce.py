"""ProtoNCE (PCL): sentences drawn to cluster centres.

Before every epoch the whole corpus is embedded by the momentum encoder and clustered several times, from coarse to
fine. Each sentence then also picks its own centre among those of other clusters; the tighter a cluster, the lower its
temperature.

Source: Li et al., Prototypical Contrastive Learning, ICLR 2021, https://arxiv.org/abs/2005.04966

                            clusters              drawn negatives   warm-up     ImageNet linear
    ImageNet, ResNet-50     25k, 50k, 100k        16384             20 epochs   61.5 (v1), 67.6 (v2)
    text (default here)     n/20, n/10, n/5       256               none        no published score

Queue, momentum and rates are those of `moco`. There is no warm-up here, because a language model's sentences have
neighbours from the start. Clustering takes faiss where it is installed (extra `faiss`), scikit-learn
otherwise; both are seeded, and they find different clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor

from textcl import (
    AnchorPositive,
    AppendQueue,
    Clusters,
    Contrastive,
    Domain,
    Encoder,
    Enqueue,
    KMeansClusters,
    MaskDuplicates,
    MemoryQueue,
    Method,
    MomentumEncoder,
    MoveMomentum,
    MoveSchedules,
    NotEmpty,
    PoolingSetting,
    ProtoNce,
    Prototypes,
    Recluster,
    Route,
    Subset,
    TemperatureSetting,
    TrainSettings,
    View,
    WeightedSum,
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
    """Starting values for text, queue and rates of ESimCSE for BERT-base.

    Args:
        temperature: Of MoCo's loss: number, "learnable:0.05", or a schedule such as "cosine:0.1:0.05".
        prototype_temperature: Mean temperature of the centres; the paper takes that of MoCo's loss.
        rows_per_cluster: Rows of a cluster on average, for each clustering.
        prototype_negatives: Centres of other clusters drawn for each batch and clustering, all where there are fewer.
        columns: "official" has a column for each row of the batch, so that two of one cluster cost at least ln 2;
            "unique" has one for each centre.
        warmup_epochs: Epochs of MoCo alone before the first clustering.
        pooling: How token states become one vector; as the model's folder says when empty, cls where it says nothing.
        head: MLP on the pooled vector: "train" leaves it out after training, "keep" keeps it, "none" has none.
        queue: Keys in the queue.
        momentum: What the moving average keeps of itself at each update.
        mask_duplicates: Do not take a key of equal text for a negative.
    """

    temperature: TemperatureSetting = 0.05
    prototype_temperature: Annotated[float, Domain(above=0)] = 0.05
    rows_per_cluster: Annotated[tuple[Annotated[int, Domain(at_least=1)], ...], NotEmpty()] = (
        20,
        10,
        5,
    )
    prototype_negatives: Annotated[int, Domain(at_least=1)] = 256
    columns: Literal["official", "unique"] = "official"
    warmup_epochs: Annotated[int, Domain(at_least=0)] = 0
    pooling: PoolingSetting | None = None
    head: Literal["train", "keep", "none"] = "train"
    queue: Annotated[int, Domain(at_least=1, at_most=2**24)] = 160
    momentum: Annotated[float, Domain(at_least=0, at_most=1)] = 0.995
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
    prototypes = Prototypes(len(s.rows_per_cluster), online.dimension)

    def cluster(features: Tensor) -> Sequence[Clusters]:
        counts = [max(1, len(features) // rows) for rows in s.rows_per_cluster]
        return KMeansClusters(counts, s.prototype_temperature, seed=s.seed)(features)

    duplicates = [MaskDuplicates()] if s.mask_duplicates else []
    moco = Contrastive(
        AnchorPositive(positive="key"),
        as_temperature(s.temperature),
        [only_own_positive, AppendQueue(queue), *duplicates],
        world=world,
    )
    draw = Subset(s.prototype_negatives, seed=s.seed)
    proto = ProtoNce(prototypes, draw, columns=s.columns, world=world)
    return Method(
        views={"anchor": View("text")},
        encoders={"online": online, "momentum": momentum},
        routes={"anchor": Route("online", "anchor"), "key": Route("momentum", "anchor")},
        objective=WeightedSum([(1.0, moco), (1.0, proto)]),
        hooks=[
            Recluster(prototypes, cluster, s.warmup_epochs, world),
            Enqueue(queue, "key"),
            MoveMomentum(momentum, online),
            MoveSchedules.of(moco),
        ],
        state={"queue": queue},  # prototypes and draw are parts of the objective
        backprop=backprop_for(s.chunk_size),
    )
