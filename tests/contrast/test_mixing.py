"""Feature transformation beside loops, with draws handed in, and the draws themselves."""

from __future__ import annotations

import math

import pytest
import torch
from contracts import check_objective
from score_statistics import score_statistics

from textcl.contrast.draws import BetaMix, Mix, Subset
from textcl.contrast.masks import MaskDuplicates
from textcl.contrast.mixing import (
    ExtrapolatePositives,
    InterpolateBatch,
    InterpolateQueue,
)
from textcl.contrast.pairings import AllViews, AnchorPositive
from textcl.contrast.queue import AppendQueue, MemoryQueue
from textcl.contrast.transforms import only_own_positive
from textcl.objectives.contrastive import Contrastive
from textcl.types import Embeddings

DIM, SIZE = 5, 6


def rows(n, names=("anchor", "key")):
    g = torch.Generator().manual_seed(0)
    table = torch.randn((64, len(names), DIM), generator=g, dtype=torch.float64)
    return Embeddings.of(**{name: table[:n, k] for k, name in enumerate(names)})


def filled_queue():
    g = torch.Generator().manual_seed(1)
    queue = MemoryQueue(SIZE, DIM).double()
    queue.enqueue(torch.randn((SIZE, DIM), generator=g, dtype=torch.float64))
    return queue


def given(level, shift=0.0):
    """A draw that is the same at every call: fixed numbers for row i and element d."""

    def draw(x):
        n, dim = x.shape
        table = torch.linspace(0.1, 0.9, 64 * DIM, dtype=torch.float64).reshape(64, DIM)
        shapes = {"scalar": table[3, 2], "row": table[:n, :1], "dimension": table[:n, :dim]}
        return Mix((shapes[level] + shift).to(x), (torch.arange(n) + 2) % n)

    return draw


def unit(v):
    return [x / math.hypot(*v) for x in v]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def slow_mix(a, b, coefficients):
    return [c * x + (1 - c) * y for c, x, y in zip(coefficients, a, b, strict=True)]


def coefficients(draw, table):
    """A list of DIM coefficients for each row, whatever the level."""
    mix = draw(torch.tensor(table, dtype=torch.float64))
    return mix.coefficient.expand(len(table), DIM).tolist(), mix.partners.tolist()


def slow_loss(logits):
    return math.log(sum(math.exp(x) for x in logits)) - logits[0]


@pytest.mark.parametrize("positive_level", ["scalar", "row", "dimension"])
@pytest.mark.parametrize("queue_level", ["scalar", "row", "dimension"])
def test_both_mixes_equal_loops(positive_level, queue_level):
    z, queue = rows(4), filled_queue()
    push, blend = given(positive_level, 1.0), given(queue_level)
    transforms = [
        ExtrapolatePositives(push),
        only_own_positive,
        AppendQueue(queue),
        InterpolateQueue(blend),
    ]
    loss = Contrastive(AnchorPositive(positive="key"), 0.3, transforms)(z).loss

    anchors, keys = ([unit(v) for v in z[name].tolist()] for name in ("anchor", "key"))
    stored = [unit(v) for v in queue.keys.tolist()]
    inside, partners = coefficients(blend, stored)
    mixed = [slow_mix(stored[j], stored[partners[j]], inside[j]) for j in range(SIZE)]
    outside, _ = coefficients(push, anchors)
    total = 0.0
    for q, k, c in zip(anchors, keys, outside, strict=True):
        harder, key = slow_mix(q, k, c), slow_mix(k, q, c)
        total += slow_loss([dot(harder, x) / 0.3 for x in [key, *mixed]])
    assert loss.item() == pytest.approx(total / 4, rel=1e-10)


def test_extrapolated_pairs_score_as_the_formula_says_and_never_higher():
    z = rows(6)
    table = AnchorPositive(positive="key")
    plain = Contrastive(table, 1.0).table(z)
    moved = Contrastive(table, 1.0, [ExtrapolatePositives(given("row", 1.0))]).table(z)
    before = (plain.anchors * plain.candidates).sum(1)
    after = (moved.anchors * moved.candidates[moved.targets]).sum(1)
    c = given("row", 1.0)(plain.anchors).coefficient[:, 0]
    torch.testing.assert_close(after, before + 2 * c * (1 - c) * (1 - before))
    assert (after < before).all()


def test_other_anchors_see_the_positive_that_was_not_moved():
    z = rows(3)
    objective = Contrastive(
        AnchorPositive(positive="key"), 1.0, [ExtrapolatePositives(given("row", 1.0))]
    )
    table = objective.table(z)
    seen = ~torch.isneginf(table.block(torch.arange(3), 1.0).logits)
    assert [row.nonzero()[:, 0].tolist() for row in seen] == [[1, 2, 3], [0, 2, 4], [0, 1, 5]]
    assert table.target_weights(torch.arange(3)).argmax(1).tolist() == [3, 4, 5]


def test_normalised_mixes_are_unit_rows():
    table = Contrastive(
        AnchorPositive(positive="key"),
        1.0,
        [ExtrapolatePositives(given("dimension", 1.0), normalize=True)],
    ).table(rows(4))
    one = torch.ones(4, dtype=torch.float64)
    torch.testing.assert_close(table.anchors.norm(dim=1), one)
    torch.testing.assert_close(table.candidates[table.targets].norm(dim=1), one)


def test_identical_unit_rows_stay_where_they_are():
    x = rows(4)["anchor"]
    z = Embeddings.of(anchor=x, positive=x)
    table = Contrastive(AnchorPositive(), 1.0, [ExtrapolatePositives(given("row", 1.0))]).table(z)
    torch.testing.assert_close(table.anchors, torch.nn.functional.normalize(x, dim=1))


@pytest.mark.parametrize("level", ["scalar", "row", "dimension"])
def test_batch_mix_equals_loops_and_leaks_no_positive(level):
    z, draw = rows(5), given(level)
    loss = Contrastive(AnchorPositive(positive="key"), 0.3, [InterpolateBatch(draw)])(z).loss
    anchors, keys = ([unit(v) for v in z[name].tolist()] for name in ("anchor", "key"))
    c, partners = coefficients(draw, keys)
    total = 0.0
    for i, anchor in enumerate(anchors):
        columns = [keys[i]]
        for j in range(5):
            if j == i:
                continue
            leaks = partners[j] == i
            columns.append(keys[j] if leaks else slow_mix(keys[j], keys[partners[j]], c[j]))
        total += slow_loss([dot(anchor, x) / 0.3 for x in columns])
    assert loss.item() == pytest.approx(total / 5, rel=1e-10)


def test_batch_mix_keeps_duplicates_hidden():
    z = rows(4)
    groups = torch.tensor([7, 8, 7, 9])
    z = Embeddings.of(groups={"anchor": groups, "key": groups}, **z.by_name)
    for transforms in (
        [MaskDuplicates(), InterpolateBatch(given("row"))],
        [InterpolateBatch(given("row")), MaskDuplicates()],
    ):
        table = Contrastive(AnchorPositive(positive="key"), 1.0, transforms).table(z)
        hidden = torch.isneginf(table.block(torch.arange(4), 1.0).logits)
        assert hidden[0, [2, 6]].all()
        assert (~hidden).sum(1).tolist() == [3, 4, 3, 4]


def test_batch_mix_hides_what_is_mixed_with_a_duplicate():
    z = rows(5)
    groups = torch.tensor([7, 8, 9, 7, 5])  # of anchor 0 the duplicate is 3, with which 1 is mixed
    z = Embeddings.of(groups={"anchor": groups, "key": groups}, **z.by_name)
    mix = InterpolateBatch(given("row"))
    for transforms in ([MaskDuplicates(), mix], [mix, MaskDuplicates()]):
        table = Contrastive(AnchorPositive(positive="key"), 1.0, transforms).table(z)
        hidden = torch.isneginf(table.block(torch.arange(5), 1.0).logits)
        visible = [torch.nonzero(~row)[:, 0].tolist() for row in hidden]
        assert visible[0] == [0, 5 + 2, 5 + 4]
        assert visible[3] == [1, 3, 5 + 2, 5 + 4]
        assert visible[4] == [2, 4, 5, 5 + 1, 5 + 3]


def test_a_key_that_is_mixed_with_a_duplicate_of_the_anchor_is_no_negative_of_it():
    z, queue = rows(3), MemoryQueue(SIZE, DIM).double()
    z = Embeddings.of(
        groups={"anchor": torch.tensor([1, 2, 3]), "key": torch.tensor([1, 9, 3])}, **z.by_name
    )
    queue.enqueue(torch.randn((SIZE, DIM)).double(), torch.tensor([4, 5, 2, 9, 6, 1]))
    mix = InterpolateQueue(given("row"))
    for after in ([MaskDuplicates(), mix], [mix, MaskDuplicates()]):
        transforms = [only_own_positive, AppendQueue(queue), *after]
        objective = Contrastive(AnchorPositive(positive="key"), 1.0, transforms)
        table = objective.table(z)
        hidden = torch.isneginf(table.block(torch.arange(3), 1.0).logits)[:, 3:]
        # key j is mixed with key j + 2; anchor 1 has the text 2 and its positive the text 9
        assert [torch.nonzero(row)[:, 0].tolist() for row in hidden] == [[3, 5], [0, 1, 2, 3], []]
        assert torch.isfinite(objective(z).loss)
        assert table.masked is not None
        assert table.masked(torch.arange(3)).sum(1).tolist() == [2, 4, 0]


def test_batch_and_positive_mixes_go_together():
    z = rows(5)
    transforms = [InterpolateBatch(given("row")), ExtrapolatePositives(given("row", 1.0))]
    objective = Contrastive(AnchorPositive(positive="key"), 0.3, transforms)
    table = objective.table(z)
    assert (~torch.isneginf(table.block(torch.arange(5), 1.0).logits)).sum(1).tolist() == [5] * 5
    assert torch.isfinite(objective(z).loss)


def test_score_statistics_equal_loops():
    z, queue = rows(3), filled_queue()
    transforms = [only_own_positive, AppendQueue(queue)]
    table = Contrastive(AnchorPositive(positive="key"), 0.2, transforms).table(z)
    statistics = score_statistics(table, 0.2)
    stored = [unit(v) for v in queue.keys.tolist()]
    for i in range(3):
        q, k = unit(z["anchor"][i].tolist()), unit(z["key"][i].tolist())
        scores = [dot(q, x) for x in stored]
        mean = sum(scores) / SIZE
        exps = [math.exp(s / 0.2) for s in scores]
        want = {
            "negative_mean": mean,
            "negative_variance": sum((s - mean) ** 2 for s in scores) / (SIZE - 1),
            "positive": dot(q, k),
            "negative_exp_mean": sum(exps) / SIZE,
            "positive_exp": math.exp(dot(q, k) / 0.2),
            "negative_gradient_weight": sum(exps) / (sum(exps) + math.exp(dot(q, k) / 0.2)),
        }
        assert {name: x[i].item() for name, x in statistics.items()} == pytest.approx(want)


def test_variance_of_one_negative_is_nan():
    table = Contrastive(AnchorPositive(positive="key"), 0.2).table(rows(2))
    assert score_statistics(table, 0.2)["negative_variance"].isnan().all()


@pytest.mark.parametrize("level", ["scalar", "row", "dimension"])
def test_beta_mix_draws_in_its_range_and_repeats_from_its_state(level):
    x = torch.zeros(200, 3)
    draw, same = BetaMix(2.0, level, shift=1.0, seed=5), BetaMix(2.0, level, shift=1.0, seed=5)
    state = draw.state_dict()
    first, second = draw(x), draw(x)
    assert first.coefficient.shape == {"scalar": (), "row": (200, 1), "dimension": (200, 3)}[level]
    assert first.coefficient.min() >= 1
    assert first.coefficient.max() <= 2
    assert sorted(first.partners.tolist()) == list(range(200))
    assert not torch.equal(first.coefficient, second.coefficient)
    assert torch.equal(first.coefficient, same(x).coefficient)
    draw.load_state_dict(state)
    assert torch.equal(first.partners, draw(x).partners)


def test_beta_mix_has_the_moments_of_a_beta():
    drawn = BetaMix(1.6, "dimension")(torch.zeros((500, 20), dtype=torch.float64)).coefficient
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.01)
    assert drawn.var().item() == pytest.approx(1 / (4 * (2 * 1.6 + 1)), rel=0.05)


def test_subset_draws_without_replacement_and_all_of_few():
    draw, ids = Subset(3), torch.tensor([4, 8, 15, 16, 23])
    drawn = draw(ids).tolist()
    assert len(set(drawn)) == 3
    assert set(drawn) <= set(ids.tolist())
    assert sorted(draw(ids[:2]).tolist()) == [4, 8]
    assert draw(ids[:0]).tolist() == []


def test_subset_of_a_mask_draws_marked_places_first():
    marked = torch.tensor([False, True, True, False, True, True])
    draws = [Subset(3, seed=seed)(marked).tolist() for seed in range(200)]
    assert {len(set(drawn)) for drawn in draws} == {3}
    assert {place for drawn in draws for place in drawn} == {1, 2, 4, 5}
    counts = [sum(place in drawn for drawn in draws) for place in (1, 2, 4, 5)]
    assert min(counts) > 120  # each with probability 3/4
    few = Subset(5)(marked).tolist()
    assert set(few[:4]) == {1, 2, 4, 5}
    assert len(few) == 5


def moco(world):
    transforms = [
        ExtrapolatePositives(given("row", 1.0)),
        only_own_positive,
        AppendQueue(filled_queue()),
        InterpolateQueue(given("dimension")),
    ]
    return Contrastive(AnchorPositive(positive="key"), 0.3, transforms, world=world)


def scalar_in_batch(world):
    transforms = [InterpolateBatch(given("row")), ExtrapolatePositives(given("scalar", 1.0))]
    return Contrastive(AnchorPositive(positive="key"), 0.3, transforms, world=world)


@pytest.mark.parametrize("make", [scalar_in_batch, moco])
def test_contract(make, monkeypatch):
    # the given draws follow the position of a row in its process, not the row itself
    by_position = {"permutable": False, "ranks": make is scalar_in_batch}
    check_objective(make, rows, uses=("anchor", "key"), monkeypatch=monkeypatch, **by_position)


def test_empty_queue_is_left_alone():
    transforms = [AppendQueue(MemoryQueue(3, DIM)), InterpolateQueue(given("row"))]
    plain = Contrastive(AnchorPositive(positive="key"), 0.3)
    mixed = Contrastive(AnchorPositive(positive="key"), 0.3, transforms)
    assert mixed(rows(3)).loss.item() == plain(rows(3)).loss.item()


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="concentration of a Beta must be > 0, not 0"):
        BetaMix(0)
    late = [AppendQueue(filled_queue()), ExtrapolatePositives(given("row"))]
    with pytest.raises(ValueError, match="ExtrapolatePositives must come before AppendQueue"):
        Contrastive(AnchorPositive(positive="key"), 0.3, late)(rows(3))
    with pytest.raises(ValueError, match="InterpolateBatch needs one positive an anchor"):
        Contrastive(AllViews(("anchor", "key")), 0.3, [InterpolateBatch(given("row"))])(rows(3))
