"""What is logged of a table: every number against plain loops in float64, and the gradient identities behind them."""

from __future__ import annotations

import io
import json
import math
import statistics
import threading
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from compositions import METHODS, batch_of
from contracts import on_ranks
from families import tiny_model_dir
from made_up import cosine, rows
from rich.console import Console
from score_statistics import score_statistics

import textcl
from textcl.contrast.draws import Mix
from textcl.contrast.masks import MaskDuplicates
from textcl.contrast.mixing import ExtrapolatePositives, InterpolateQueue
from textcl.contrast.pairings import AllViews, AnchorPositive
from textcl.contrast.queue import AppendQueue, MemoryQueue
from textcl.contrast.row_losses import softmax as info_nce
from textcl.contrast.statistics import BINS, dimension_spread, gradient_weights, table_statistics
from textcl.contrast.table import Contrast
from textcl.contrast.transforms import KeepHardest, only_own_positive
from textcl.method.backprop import FullBatch
from textcl.objectives.combine import WeightedSum
from textcl.objectives.contrastive import Contrastive
from textcl.objectives.joint import JointDirections
from textcl.objectives.matryoshka import Matryoshka
from textcl.objectives.simple import simple
from textcl.objectives.sup_con import sup_con
from textcl.objectives.symmetric import symmetric
from textcl.types import Embeddings

TAU = 0.2


def loops(scores, positives, negatives, tau):
    """Everything that is said of a table of scores, given each anchor's positive and negative columns."""
    shares, weights = [], []
    for row, good, bad in zip(scores, positives, negatives, strict=True):
        e = [math.exp(s / tau) for s in row]
        total = sum(e[j] for j in [*good, *bad])
        weights.append(sum(e[j] for j in bad) / total)
        shares.append([e[j] / sum(e[k] for k in bad) for j in bad])
    pairs = [row[j] for row, good in zip(scores, positives, strict=True) for j in good]
    against = [[row[j] for j in bad] for row, bad in zip(scores, negatives, strict=True)]
    entropies = [-sum(r * math.log(r) for r in share) for share in shares]
    return {
        "statistics/anchors": len(scores),
        "scores/positive_mean": statistics.mean(pairs),
        "scores/positive_variance": statistics.variance(pairs),
        "scores/negative_mean": statistics.mean(statistics.mean(row) for row in against),
        "scores/negative_variance": statistics.mean(statistics.variance(row) for row in against),
        "scores/hardest_negative": statistics.mean(max(row) for row in against),
        "penalty/gradient_weight": statistics.mean(weights),
        "penalty/entropy": statistics.mean(entropies),
        "penalty/effective_negatives": statistics.mean(math.exp(h) for h in entropies),
        "penalty/saturated_rows": statistics.mean(w < 0.01 for w in weights),
        "scores/positive_histogram": binned(pairs),
        "scores/negative_histogram": binned([s for row in against for s in row]),
    }


def binned(values):
    counts = [0] * BINS
    for value in values:
        edges = [-1 + 2 * k / BINS for k in range(1, BINS)]
        counts[sum(value >= edge for edge in edges)] += 1
    return counts


def cosines(a, b):
    return [[cosine(x, y) for y in b.tolist()] for x in a.tolist()]


def same(got, want):
    for name, value in want.items():
        close = None if value is None else pytest.approx(value, rel=1e-5, abs=1e-7)
        assert got[name] == close, name


def test_an_ordinary_batch():
    z = rows(7)
    scores = cosines(z["anchor"], z["positive"])
    others = [[j for j in range(7) if j != i] for i in range(7)]
    got = Contrastive(AnchorPositive(), TAU)(z).statistics()
    same(got, loops(scores, [[i] for i in range(7)], others, TAU))
    json.dumps(got, allow_nan=False)


def test_queue_and_masked_duplicates():
    z, queue = rows(5), MemoryQueue(6, 5).double()
    keys = rows(6, seed=3)["anchor"]
    queue.enqueue(keys, torch.tensor([9, 0, 9, 9, 1, 9]))
    groups = torch.tensor([0, 1, 2, 0, 4])
    z = Embeddings.of(groups={"anchor": groups, "positive": groups}, **z.by_name)
    got = Contrastive(AnchorPositive(), TAU, [AppendQueue(queue), MaskDuplicates()])(z).statistics()
    scores = cosines(z["anchor"], torch.cat([z["positive"], keys]))
    column = [0, 1, 2, 0, 4, 9, 0, 9, 9, 1, 9]
    negatives = [[j for j in range(11) if j != i and column[j] != column[i]] for i in range(5)]
    same(got, loops(scores, [[i] for i in range(5)], negatives, TAU))
    hidden = [10 - len(bad) for bad in negatives]
    assert hidden == [2, 1, 0, 2, 0]
    assert got["masked"] == pytest.approx(1.0)
    assert got["masked_rows"] == pytest.approx(3 / 5)


def test_several_positives_and_an_anchor_without_any():
    labels = [0, 0, 1, 1, 0, 2]
    z = rows(6, ("anchor",), labels=labels)
    got = sup_con(TAU, names=("anchor",))(z).statistics()
    scores = cosines(z["anchor"], z["anchor"])
    good = [[j for j in range(6) if j != i and labels[j] == labels[i]] for i in range(6)]
    bad = [[j for j in range(6) if labels[j] != labels[i]] for i in range(6)]
    want = loops(scores, good, bad, TAU)
    # the loss leaves the lonely anchor out, so that it pushes nothing
    alone = loops(scores[:5], good[:5], bad[:5], TAU)
    same(got, want | {name: value for name, value in alone.items() if name.startswith("penalty")})


def test_scores_off_the_sphere_stay_in_the_outer_bins():
    z = Embeddings.of(anchor=torch.eye(3), positive=torch.eye(3))
    contrast = AnchorPositive()(z, world_alone())
    far = Contrast(3 * contrast.anchors, contrast.candidates, contrast.targets)
    got = table_statistics(far, 1.0)
    assert got["scores/positive_mean"] == 3
    assert got["scores/positive_histogram"] == [0] * (BINS - 1) + [3]
    assert got["scores/negative_histogram"] == binned([0.0] * 6)
    assert "penalty/entropy" not in got


def world_alone():
    from textcl.distributed import ALONE

    return ALONE


def test_what_is_undefined_is_null():
    got = Contrastive(AnchorPositive(), TAU)(rows(1)).statistics()
    for name in ("negative_mean", "negative_variance", "hardest_negative", "positive_variance"):
        assert got[f"scores/{name}"] is None
    assert got["penalty/gradient_weight"] is None
    two = Contrastive(AnchorPositive(), TAU)(rows(2)).statistics()
    assert two["scores/negative_variance"] is None  # one negative has no variance
    assert two["penalty/effective_negatives"] == pytest.approx(1)


def test_a_large_table_is_read_from_its_first_anchors(monkeypatch):
    z = rows(9)
    whole = Contrastive(AnchorPositive(), TAU)(z).statistics()
    monkeypatch.setattr("textcl.contrast.statistics.SAMPLE", 4 * 9)
    part = Contrastive(AnchorPositive(), TAU)(z).statistics()
    assert (whole["statistics/anchors"], part["statistics/anchors"]) == (9, 4)
    scores = cosines(z["anchor"][:4], z["positive"])
    others = [[j for j in range(9) if j != i] for i in range(4)]
    same(part, loops(scores, [[i] for i in range(4)], others, TAU))


def test_a_low_temperature_loses_nothing_to_rounding():
    """e^(-100) of a share is gone in float32 beside the positive's 1; the relative penalty is not."""
    anchors = torch.tensor([[1.0, 0.0, 0.0]] * 2)
    positives = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    contrast = Contrast(
        anchors[:1], torch.cat([positives, torch.tensor([[0.0, 0, 1]])]), torch.tensor([0])
    )
    got = table_statistics(contrast, 0.01, info_nce)
    assert got["penalty/effective_negatives"] == pytest.approx(2)
    assert got["penalty/saturated_rows"] == 1


@pytest.mark.parametrize("tau", [0.05, 0.5])
def test_the_gradient_of_info_nce_is_its_softmax(tau):
    """∂ℓ/∂s_ij = P_ij/τ and ∂ℓ/∂s_ii = -Σ P_ij/τ, by autograd of the loss as printed."""
    s = torch.tensor(cosines(*rows(6).by_name.values()), dtype=torch.float64, requires_grad=True)
    loss = (torch.logsumexp(s / tau, 1) - s.diagonal() / tau).sum()
    (gradient,) = torch.autograd.grad(loss, s)
    p = torch.tensor([[math.exp(x / tau) for x in row] for row in s.tolist()], dtype=torch.float64)
    p = p / p.sum(1, keepdim=True)
    off = ~torch.eye(6, dtype=torch.bool)
    torch.testing.assert_close(gradient[off], p[off] / tau)
    against = torch.where(off, p, 0.0).sum(1)
    torch.testing.assert_close(gradient.diagonal(), -against / tau)

    contrast = AnchorPositive()(rows(6), world_alone())
    block = contrast.block(torch.arange(6), tau)
    weights, counted = gradient_weights(block, info_nce)
    torch.testing.assert_close(weights, tau * gradient, rtol=1e-10, atol=1e-14)
    assert counted.all()
    published = score_statistics(contrast, tau)
    torch.testing.assert_close(published["negative_gradient_weight"], against)


def test_the_limits_of_the_temperature():
    """τ → 0: max(0, max_j s_ij - s_ii)/τ; τ → ∞: -s_ii/τ + mean of all s/τ + ln(M + 1)."""
    z = rows(6)
    s = torch.tensor(cosines(z["anchor"], z["positive"]), dtype=torch.float64)
    others = s.masked_fill(torch.eye(6, dtype=torch.bool), -math.inf)
    for tau in (1e-3, 1e-4):
        want = (others.amax(1) - s.diagonal()).clamp(min=0).mean() / tau
        got = Contrastive(AnchorPositive(), tau)(z).loss
        torch.testing.assert_close(got * tau, want * tau, atol=2 * tau * math.log(6), rtol=0)
    tau = 1e3
    want = (s.mean(1) - s.diagonal()).mean() / tau + math.log(6)
    torch.testing.assert_close(
        Contrastive(AnchorPositive(), tau)(z).loss, want, atol=1 / tau**2, rtol=0
    )


def test_entropy_rises_with_the_temperature_unless_all_negatives_are_alike():
    entropies = [
        Contrastive(AnchorPositive(), tau)(rows(8)).statistics()["penalty/entropy"]
        for tau in (0.02, 0.05, 0.1, 0.3, 1.0)
    ]
    assert entropies == sorted(entropies)
    assert entropies[0] < entropies[-1] < math.log(7)
    alike = Embeddings.of(anchor=torch.eye(4).double(), positive=torch.eye(4).double())
    for tau in (0.02, 1.0):
        got = Contrastive(AnchorPositive(), tau)(alike).statistics()
        assert got["penalty/entropy"] == pytest.approx(math.log(3), rel=1e-5)


def test_the_simple_loss_pushes_all_negatives_alike_and_the_hard_loss_some():
    z = rows(8)
    flat = simple(0.25)(z).statistics()
    assert flat["penalty/effective_negatives"] == pytest.approx(7)
    assert flat["penalty/gradient_weight"] == pytest.approx(0.25 * 7)
    hard = Contrastive(AnchorPositive(), TAU, [KeepHardest(0.3)])(z).statistics()
    assert sum(hard["scores/negative_histogram"]) == 8 * 3  # ceil(0.3 * 7)
    assert hard["penalty/effective_negatives"] <= 3


def test_feature_transformation_tells_of_the_mixed_table():
    """Harder positives and milder negatives are seen in the log, as in the paper's pictures."""
    z, queue = rows(6), MemoryQueue(9, 5).double()
    queue.enqueue(rows(9, seed=4)["anchor"])

    def outwards(anchors):
        return Mix(torch.tensor(1.4, dtype=anchors.dtype), torch.arange(len(anchors)))

    def inwards(keys):
        order = torch.arange(len(keys)).roll(1)
        return Mix(torch.tensor(0.3, dtype=keys.dtype), order)

    transforms = [ExtrapolatePositives(outwards), only_own_positive, AppendQueue(queue)]
    mixed = Contrastive(AnchorPositive(), TAU, [*transforms, InterpolateQueue(inwards)])
    plain = Contrastive(AnchorPositive(), TAU, transforms[1:])
    got, without = mixed(z).statistics(), plain(z).statistics()
    assert (got["scores/cosines"], without["scores/cosines"]) == (0, 1)
    want = {name: value.mean() for name, value in score_statistics(mixed.table(z), TAU).items()}
    assert got["scores/positive_mean"] == pytest.approx(want["positive"].item(), rel=1e-5)
    assert got["scores/negative_mean"] == pytest.approx(want["negative_mean"].item(), rel=1e-5)
    variance = want["negative_variance"].item()
    assert got["scores/negative_variance"] == pytest.approx(variance, rel=1e-5)
    weight = want["negative_gradient_weight"].item()
    assert got["penalty/gradient_weight"] == pytest.approx(weight, rel=1e-5)
    # q̂·k̂ = S + 2λ(1-λ)(1-S) for each pair
    s = torch.tensor([cosine(a, b) for a, b in zip(z["anchor"], z["positive"], strict=True)])
    assert got["scores/positive_mean"] == pytest.approx(
        (s - 1.12 * (1 - s)).mean().item(), rel=1e-4
    )
    assert got["scores/positive_mean"] < without["scores/positive_mean"]


def test_composed_objectives_tell_of_their_table():
    z = rows(6, dim=4)
    one, other = Contrastive(AnchorPositive(), 0.1), Contrastive(AllViews(), 0.3)
    assert WeightedSum([(1.0, one), (1.0, other)])(z).statistics() == one(z).statistics()
    assert Matryoshka(one, (2, 4))(z).statistics() == one(z).statistics()
    assert symmetric(0.1)(z).statistics() == one(z).statistics()
    joint = JointDirections(0.1)(z).statistics()
    assert "scores/positive_mean" in joint
    assert "penalty/entropy" not in joint


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_tell_what_one_does(name):
    """Of every kind of method; the numbers are those of all anchors, whoever holds them."""
    index, building = torch.arange(10), threading.Lock()

    def tell(world, chosen):
        with building:  # weights are drawn from one global generator
            method = METHODS[name](world)
        for module in method.state.values():
            if isinstance(module, MemoryQueue):
                module.enqueue(rows(9, dim=6, seed=5)["anchor"])
        for hook in method.hooks:
            hook.before_epoch(0, lambda: rows(21, dim=6, seed=7)["anchor"])
        output, z = FullBatch()(
            method.embedder(), method.objective, batch_of(chosen), lambda loss: None
        )
        before = {k: v.clone() for k, v in method.objective.state_dict().items()}
        told = output.statistics() if output.statistics else {}
        assert all(torch.equal(before[k], v) for k, v in method.objective.state_dict().items())
        return told | dimension_spread(z, "anchor", world)

    def work(world):
        return tell(world, index[:6] if world.rank == 0 else index[6:])

    alone = tell(world_alone(), index)
    for told in on_ranks(work, 2):
        assert told.keys() == alone.keys()
        same(told, alone)


def test_spread_by_dimension():
    x = rows(9)["anchor"]
    units = [[v / math.hypot(*row) for v in row] for row in x.tolist()]
    deviations = sorted(statistics.pstdev(column) for column in zip(*units, strict=True))
    got = dimension_spread(rows(9), "anchor")
    assert got["dimension_std/mean"] == pytest.approx(statistics.mean(deviations), rel=1e-5)
    quantiles: Any = got["dimension_std/quantiles"]
    assert quantiles[0] == pytest.approx(deviations[0], rel=1e-3)
    assert quantiles[3] == pytest.approx(statistics.median(deviations), rel=1e-3)
    assert quantiles[-1] == pytest.approx(deviations[-1], rel=1e-3)


def test_a_run_computes_them_for_the_lines_of_its_log_only(tmp_path, monkeypatch):
    calls, tracked = [], []

    def counted(*args, **kwargs):
        calls.append(1)
        return table_statistics(*args, **kwargs)

    monkeypatch.setattr("textcl.objectives.contrastive.table_statistics", counted)
    monkeypatch.setattr(Accelerator, "log", lambda self, values, step: tracked.append(values))
    console = Console(file=io.StringIO(), width=200)
    textcl.train(
        "unsup-simcse", model=str(tiny_model_dir(tmp_path)), data=[f"sentence {k}" for k in range(16)], dev="",
        output=tmp_path / "run", console=console, settings=["batch_size=4", "steps=6", "log_every=3"],
    )  # fmt: skip
    lines = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6]
    assert len(calls) == 2
    for line, values in zip(lines, tracked, strict=True):
        assert sum(line["scores/positive_histogram"]) == line["statistics/anchors"] == 4
        assert sum(line["scores/negative_histogram"]) == 12
        assert values["scores/positive_mean"] == line["scores/positive_mean"]
        assert all(isinstance(value, int | float) for value in values.values())
    assert "· positives " in console.file.getvalue()
