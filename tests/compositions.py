"""One small method of every kind, over row-by-row encoders in float64: tests train them on one process and on two."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from textcl.classifier.head import ClassificationHead
from textcl.contrast.clustering import KMeansClusters
from textcl.contrast.draws import BetaMix, Subset
from textcl.contrast.masks import MaskDuplicates
from textcl.contrast.mixing import ExtrapolatePositives, InterpolateBatch, InterpolateQueue
from textcl.contrast.pairings import AllViews, AnchorPositive
from textcl.contrast.prototypes import Prototypes
from textcl.contrast.queue import AppendQueue, MemoryQueue
from textcl.contrast.soft_targets import SoftQueueTargets
from textcl.contrast.temperature import LearnableTemperature, ScheduledTemperature
from textcl.contrast.transforms import KeepHardest, only_own_positive
from textcl.distributed import World
from textcl.encoder.momentum import MomentumEncoder
from textcl.method.hooks import Enqueue, MoveMomentum, MoveSchedules, Recluster
from textcl.method.method import Method
from textcl.method.routes import Route
from textcl.objectives.batch_triplet import BatchTriplet
from textcl.objectives.byol import Byol, SimSiam
from textcl.objectives.combine import Projected, WeightedSum, mlp
from textcl.objectives.contrastive import Contrastive, nt_xent
from textcl.objectives.cross_entropy import CrossEntropy
from textcl.objectives.distillation import DistillEmbeddings
from textcl.objectives.given_triplets import GivenTriplets
from textcl.objectives.hard_negative import HardNegative
from textcl.objectives.joint import JointDirections
from textcl.objectives.label_aware import LabelAware
from textcl.objectives.matryoshka import Matryoshka
from textcl.objectives.nt_xent_pairs import nt_xent_pairs
from textcl.objectives.predictor import Predictor
from textcl.objectives.proto_nce import ProtoNce
from textcl.objectives.ranking import angle, cosent
from textcl.objectives.similarity_distillation import DistillSimilarity
from textcl.objectives.simple import hard_contrastive, simple
from textcl.objectives.soft_byol import SoftByol
from textcl.objectives.sup_con import sup_con
from textcl.objectives.symmetric import symmetric
from textcl.objectives.triplet import TripletMargin
from textcl.types import Batch, Tokens
from textcl.views.view import View

ROWS, CLASSES, WIDTH, TOKENS = 21, 3, 6, 40
VIEWS = {"first": View("a"), "second": View("b"), "third": View("c")}
ROUTES = {"anchor": Route("online", "first"), "positive": Route("online", "second")}


class Bag(nn.Module):
    """Embeds each token and averages: rows know nothing of one another."""

    def __init__(self, seed: int = 0, width: int = WIDTH) -> None:
        super().__init__()
        self.dimension = width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.table = nn.Embedding(TOKENS, 5, dtype=torch.float64)
            self.out = nn.Linear(5, width, dtype=torch.float64)

    def forward(self, tokens: Tokens) -> torch.Tensor:
        ids, mask = tokens.padded(0)
        states = (self.table(ids) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return self.out(torch.tanh(states))


def batch_of(index: torch.Tensor) -> Batch:
    """The rows with these numbers; some share their text, and each class has several."""
    g = torch.Generator().manual_seed(7)
    lengths = {view: torch.randint(1, 6, (ROWS,), generator=g) for view in VIEWS}
    words = {view: torch.randint(0, TOKENS, (ROWS, 6), generator=g) for view in VIEWS}
    tokens = {
        view: Tokens.from_lists([words[view][i, : lengths[view][i]].tolist() for i in index])
        for view in VIEWS
    }
    scores = torch.rand(ROWS, generator=g, dtype=torch.float64).mul(5).round()
    groups = dict.fromkeys(VIEWS, index % (ROWS - 4))
    return Batch(tokens, index, groups, index % CLASSES, scores[index])


def plain(make: Callable[[World], nn.Module], **routes: Route) -> Callable[[World], Method]:
    """A method of one online encoder, and whatever else its objective reads."""

    def method(world: World) -> Method:
        online, teacher, weigher = Bag(), Bag(1).requires_grad_(False), Bag(2, CLASSES)
        known = {"online": online, "teacher": teacher, "weigher": weigher}
        used = {route.encoder for route in routes.values()} | {"online"}
        encoders = {name: known[name] for name in known if name in used}
        objective = make(world).double()
        schedules = MoveSchedules.of(objective)
        return Method(VIEWS, encoders, ROUTES | routes, objective, [schedules])

    return method


def with_momentum(
    make: Callable[[World, MemoryQueue], nn.Module], **routes: Route
) -> Callable[[World], Method]:
    """A method with a momentum encoder, and a queue of its keys that is smaller than two batches."""
    routes = routes or {"key": Route("momentum", "second")}

    def method(world: World) -> Method:
        online = Bag()
        momentum = MomentumEncoder(online, 0.9)
        queue = MemoryQueue(11, WIDTH).double()
        return Method(
            VIEWS,
            {"online": online, "momentum": momentum},
            ROUTES | routes,
            make(world, queue).double(),
            [Enqueue(queue, next(iter(routes))), MoveMomentum(momentum, online)],
            {"queue": queue},
        )

    return method


def proto_nce(world: World) -> Method:
    """MoCo and ProtoNCE; the clusterings are made on rank 0."""
    online = Bag()
    momentum, queue = MomentumEncoder(online, 0.9), MemoryQueue(11, WIDTH).double()
    prototypes = Prototypes(2, WIDTH)
    clusters = KMeansClusters((3, 5), restarts=1, seed=world.rank)  # rank 1 would cluster otherwise
    objective = WeightedSum(
        [
            (1.0, moco(world, queue)),
            (0.5, ProtoNce(prototypes, Subset(2), columns="unique", world=world)),
        ]
    )
    return Method(
        VIEWS,
        {"online": online, "momentum": momentum},
        ROUTES | {"key": Route("momentum", "second")},
        objective,
        [
            Enqueue(queue),
            MoveMomentum(momentum, online),
            Recluster(prototypes, clusters, world=world),
        ],
        {"queue": queue, "prototypes": prototypes},
    )


def moco(world: World, queue: MemoryQueue) -> nn.Module:
    """Keys of the queue are the only negatives."""
    pairing = AnchorPositive(positive="key")
    return Contrastive(pairing, 0.2, [only_own_positive, AppendQueue(queue)], world=world)


def ascl(world: World, queue: MemoryQueue) -> nn.Module:
    """MoCo with soft targets."""
    transforms = [only_own_positive, AppendQueue(queue), SoftQueueTargets(neighbours=2)]
    return Contrastive(AnchorPositive(positive="key"), 0.2, transforms, world=world)


def feature_transform(world: World, queue: MemoryQueue) -> nn.Module:
    """MoCo with mixed features."""
    transforms = [
        ExtrapolatePositives(BetaMix(2.0, shift=1)),
        only_own_positive,
        AppendQueue(queue),
        InterpolateQueue(BetaMix(1.6, "row", seed=1)),
    ]
    return Contrastive(AnchorPositive(positive="key"), 0.2, transforms, world=world)


def esimcse(world: World, queue: MemoryQueue) -> nn.Module:
    """In-batch negatives and a queue, both without duplicates."""
    transforms = [AppendQueue(queue), MaskDuplicates()]
    return Contrastive(AnchorPositive(), 0.1, transforms, world=world)


def head(seed: int = 3) -> ClassificationHead:
    """A classifier's head, the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ClassificationHead(WIDTH, CLASSES, dropout=0.0)


def label_aware(world: World) -> nn.Module:
    """LCL with the class losses of both networks."""
    weighers = ("weigher_anchor", "weigher_positive")
    return WeightedSum(
        [
            (0.5, CrossEntropy(head(), ("anchor", "positive"), world=world)),
            (0.5, LabelAware(0.3, weighers=weighers, world=world)),
            (0.5, CrossEntropy(None, weighers, world=world)),
        ]
    )


def projected_label_aware(world: World) -> nn.Module:
    """LCL whose weighting network is a second head, on vectors that the contrast sees through a projector."""
    views, second = ("anchor", "positive"), head(4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        projector = mlp(WIDTH, 4)
    contrast = LabelAware(
        0.3, ("projected_anchor", "projected_positive"), views, second, world=world
    )
    return WeightedSum(
        [
            (0.5, CrossEntropy(head(), views, world=world)),
            (0.5, Projected(projector, contrast, views)),
            (0.5, CrossEntropy(second, views, world=world)),
        ]
    )


def predictor() -> nn.Module:
    """The head of BYOL, the same every time; rows are normalised one by one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return Predictor(WIDTH, 8, norm="layer")


_NEGATIVE = {"negative": Route("online", "third")}
_PAIR = {"sentence1": Route("online", "first"), "sentence2": Route("online", "second")}
_TEACHER = {"teacher": Route("teacher", "first")}
_TARGETS = {
    "positive_target": Route("momentum", "second"),
    "anchor_target": Route("momentum", "first"),
}
_WEIGHERS = {
    "weigher_anchor": Route("weigher", "first"),
    "weigher_positive": Route("weigher", "second"),
}
_HARD = AnchorPositive(negatives=("negative",), hard_negative_weight=0.5)

METHODS: dict[str, Callable[[World], Method]] = {
    "in-batch": plain(lambda w: Contrastive(AnchorPositive(), LearnableTemperature(0.1), world=w)),
    "in-batch, masked": plain(
        lambda w: Contrastive(
            AnchorPositive(), ScheduledTemperature("linear", 0.2, 0.1), [MaskDuplicates()], world=w
        )
    ),
    "hard negatives": plain(lambda w: Contrastive(_HARD, 0.1, world=w), **_NEGATIVE),
    "symmetric": plain(lambda w: symmetric(LearnableTemperature(0.2), world=w)),
    "joint": plain(lambda w: JointDirections(0.2, world=w)),
    "nt-xent": plain(lambda w: nt_xent(0.2, world=w)),
    "nt-xent pairs": plain(lambda w: nt_xent_pairs(0.2, same="labels", world=w)),
    "sup-con": plain(lambda w: sup_con(LearnableTemperature(0.2), base_temperature=0.07, world=w)),
    "label-aware": plain(label_aware, **_WEIGHERS),
    "label-aware, one encoder, projected": plain(projected_label_aware),
    "cross-entropy": plain(lambda w: CrossEntropy(head(), class_weights=[0.5, 1.0, 2.0], world=w)),
    "hard contrastive": plain(lambda w: hard_contrastive(0.2, 0.3, world=w)),
    "simple": plain(lambda w: simple(0.1, world=w)),
    "hard simple": plain(lambda w: simple(0.5, hardest=0.3, world=w)),
    "debiased": plain(lambda w: HardNegative(AllViews(), 0.5, beta=0.0, world=w)),
    "hcl": plain(
        lambda w: HardNegative(AllViews(), 0.5, transforms=[KeepHardest(0.7)], world=w)
    ),
    "triplet": plain(
        lambda w: TripletMargin(0.3, mining="semihard", names=("anchor", "positive"), world=w)
    ),
    "given triplets": plain(lambda w: GivenTriplets(swap=True, world=w), **_NEGATIVE),
    **{
        f"batch triplet {form}": plain(lambda w, form=form: BatchTriplet(form, world=w))
        for form in ("hard", "hard_soft_margin", "semihard", "all")
    },
    "cosent": plain(lambda w: cosent(LearnableTemperature(0.1), world=w), **_PAIR),
    "angle": plain(lambda w: angle(0.1, world=w), **_PAIR),
    "matryoshka": plain(
        lambda w: Matryoshka(
            Contrastive(AnchorPositive(), 0.1, world=w), (2, 4, 6), choose=Subset(2)
        )
    ),
    "moco": with_momentum(moco),
    "esimcse": with_momentum(esimcse),
    "ascl": with_momentum(ascl),
    "ascl-byol": with_momentum(
        lambda w, _: SoftByol(predictor(), neighbours=2, world=w), **_TARGETS
    ),
    "byol": with_momentum(lambda w, _: Byol(predictor(), world=w), **_TARGETS),
    "simsiam": plain(lambda w: SimSiam(predictor(), world=w)),
    "feature transform": with_momentum(feature_transform),
    "feature transform in the batch": plain(
        lambda w: Contrastive(
            AnchorPositive(), 0.2, [InterpolateBatch(BetaMix(1.6, "row"))], world=w
        )
    ),
    "proto-nce": proto_nce,
    "distill": plain(
        lambda w: WeightedSum(
            [(1.0, DistillEmbeddings(world=w)), (1.0, DistillSimilarity("kl", world=w))]
        ),
        **_TEACHER,
    ),
    "distill similarities": plain(lambda w: DistillSimilarity("mse", world=w), **_TEACHER),
}  # fmt: skip
