"""Updates of several batches: one mean over the items of all of them, wherever a loss is a mean over items."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from families import WORDS, tiny_encoder
from torch import nn

from textcl.data import load_rows
from textcl.distributed import ALONE
from textcl.encoder.masked_tokens import MaskedTokenLoss
from textcl.errors import UserError
from textcl.method.backprop import FullBatch, GradCache
from textcl.method.method import Method
from textcl.method.routes import Route
from textcl.objectives.combine import WeightedSum, mean_of
from textcl.objectives.cross_entropy import CrossEntropy
from textcl.objectives.distillation import DistillEmbeddings
from textcl.objectives.given_triplets import GivenTriplets
from textcl.objectives.ratio import RatioOfSums
from textcl.objectives.score_distillation import DistillScores
from textcl.training.items import ItemCounts
from textcl.training.loader import Collate, Loader
from textcl.training.samplers import ShuffledBatches
from textcl.training.settings import TrainSettings
from textcl.views.masking import MaskTokens
from textcl.views.view import ListView, View

ACCUMULATION = 3


def text(draw: random.Random, most: int = 9) -> str:
    return " ".join(draw.choices(WORDS, k=draw.randint(1, most)))


def labelled(draw):
    return {"text": text(draw), "label": draw.choices(["a", "b", "c"], [6, 3, 1])[0]}


def in_columns(draw):
    names = ["a", "b", "c", None]
    x, y = draw.choice(names), draw.choice(names)
    return {"text": text(draw), "label:x": x, "label:y": y if x else "a"}


def weighed(draw):
    vector = [draw.random() for _ in range(32)]
    return {"text": text(draw), "vector": vector, "weight": draw.choice([0.01, 0.1, 2.0])}


def listed(draw):
    negatives = [text(draw) for _ in range(draw.randint(1, 3))]
    scores = [draw.random() for _ in range(1 + len(negatives))]
    return {
        "anchor": text(draw), "positive": text(draw), "negatives": negatives,
        "scores": scores, "weight": draw.choice([0.1, 2.0]),
    }  # fmt: skip


def masked(online: nn.Module, weight: float) -> Method:
    change = MaskTokens.of(online.tokenizer, rate=0.3)
    mlm = MaskedTokenLoss(online).double()
    entropy = CrossEntropy(nn.Linear(32, 3).double(), class_weights=[1.0, 2.0, 30.0])
    parts = [(weight, RatioOfSums(["mlm"])), (0.5, entropy)]
    return Method(
        views={"text": View("text"), "masked": View("text", changes=(change,))},
        encoders={"online": online, "mlm": mlm},
        routes={"anchor": Route("online", "text"), "mlm": Route("mlm", "masked")},
        objective=WeightedSum(parts),
    )


def simple(online: nn.Module, objective: nn.Module) -> Method:
    routes = {"anchor": Route("online", "text")}
    return Method({"text": View("text")}, {"online": online}, routes, objective)


def of_lists(online: nn.Module, objective: nn.Module) -> Method:
    views = {name: View(name) for name in ("anchor", "positive")}
    views |= {f"negative_{i}": ListView("negatives", place=i) for i in range(3)}
    return Method(views, {"online": online}, {n: Route("online", n) for n in views}, objective)


NAMES = ("anchor", "positive", "negative_0", "negative_1", "negative_2")
KINDS = {
    "class weights": (
        labelled,
        lambda e: simple(e, CrossEntropy(nn.Linear(32, 3).double(), class_weights=[1, 5, 90.0])),
    ),
    "label columns": (
        in_columns,
        lambda e: simple(
            e,
            mean_of(
                [
                    CrossEntropy(nn.Linear(32, 3).double(), column=0),
                    CrossEntropy(nn.Linear(32, 3).double(), column=1, class_weights=[1, 5, 9.0]),
                ]
            ),
        ),
    ),
    "masked tokens": (labelled, lambda e: masked(e, 2.0)),
    "row weights": (weighed, lambda e: simple(e, DistillEmbeddings("anchor", None))),
    "margins": (listed, lambda e: of_lists(e, DistillScores(names=NAMES))),
    "divergences": (listed, lambda e: of_lists(e, DistillScores("kl", names=NAMES))),
    "triplets": (listed, lambda e: of_lists(e, GivenTriplets(names=NAMES))),
}


def loader_of(method: Method, rows: Sequence[dict[str, object]], batch_size: int) -> Loader:
    columns = load_rows(list(rows), roles=list(rows[0]))
    classes = {role: ("a", "b", "c") for role in rows[0] if role.startswith("label")}
    collate = Collate(method.views, method.readers(16), 0, classes)
    return Loader(columns, ShuffledBatches(len(rows), batch_size, 0), collate, ALONE)


def gradient(
    method: Method, loader: Loader, accumulation: int, backprop: object
) -> list[torch.Tensor]:
    """That of the first update."""
    embedder = method.embedder()
    modules = nn.ModuleList([embedder, method.objective])
    modules.zero_grad()
    batches = ItemCounts.of(method, accumulation).batches(loader, 0)
    for _, batch in zip(range(accumulation), batches, strict=False):
        backprop(embedder, method.objective, batch, lambda loss: (loss / accumulation).backward())
    return [p.grad.clone() for p in modules.parameters() if p.grad is not None]


@pytest.mark.parametrize("backprop", [FullBatch(), GradCache(3)], ids=["whole", "cached"])
@pytest.mark.parametrize("kind", KINDS)
def test_several_batches_give_the_gradient_of_one(kind, backprop):
    row, build = KINDS[kind]
    draw = random.Random(1)
    rows = [row(draw) for _ in range(12)]
    torch.manual_seed(0)
    method = build(tiny_encoder(layers=1, dropout=0.0).double())
    small = loader_of(method, rows, 12 // ACCUMULATION)
    one = gradient(method, loader_of(method, rows, 12), 1, backprop)
    several = gradient(method, small, ACCUMULATION, backprop)
    assert len(one) == len(several) > 3
    for whole, part in zip(one, several, strict=True):
        torch.testing.assert_close(part, whole, rtol=1e-9, atol=1e-12)
    counts = [ItemCounts.of(method, 1).count(batch) for batch in small.batches(0)]
    assert all(len({count[part] for count in counts}) > 1 for part in counts[0])


def test_an_update_may_end_in_the_next_epoch_and_a_run_may_go_on_within_one():
    draw = random.Random(0)
    rows = [labelled(draw) for _ in range(22)]  # 5 batches of 4 an epoch
    method = KINDS["class weights"][1](tiny_encoder(layers=1).double())
    loader = loader_of(method, rows, 4)
    counted = ItemCounts.of(method, ACCUMULATION)
    part = method.objective
    got = [float(b.items[part]) for epoch in range(3) for b in counted.batches(loader, epoch)]
    single = [
        float(counted.count(loader.batch(epoch, i))[part]) for epoch in range(3) for i in range(5)
    ]
    want = np.repeat(np.array(single).reshape(5, 3).mean(1), 3)
    np.testing.assert_allclose(got, want)
    later = [float(b.items[part]) for b in counted.batches(loader, 1, 1)]
    np.testing.assert_allclose(later, want[6:10])


def test_an_update_of_more_batches_than_the_run_has_is_refused():
    with pytest.raises(UserError, match=r"accumulation=8 batches, and 1 epochs have 3"):
        TrainSettings(accumulation=8).total_steps(3)
    assert TrainSettings(accumulation=8, steps=2).total_steps(3) == 2
    assert TrainSettings(accumulation=3).total_steps(3) == 1
    assert TrainSettings(epochs=0.01).total_steps(3) == 1
