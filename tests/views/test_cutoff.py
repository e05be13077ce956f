import random
from collections import Counter

import numpy as np
import pytest
import torch

from textcl.errors import UserError
from textcl.training.loader import Collate
from textcl.types import Tokens
from textcl.views.cutoff import (
    CutFeatures,
    CutSpan,
    CutTokens,
    ShufflePositions,
    cut_features,
    cut_span,
    cut_tokens,
    draw_uniform,
    shuffle_positions,
)
from textcl.views.view import View, draw_generator

LENGTHS = torch.tensor([7, 1, 0, 12, 2, 20])
VARIANTS = ["default", "consert", "cutoff_repo"]


def uniform(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def by_row(values, lengths=LENGTHS):
    return [row.tolist() for row in values.split(lengths.tolist())]


def naive_cut_tokens(draws, rate, variant):
    """Places of one row that are cut."""
    length = len(draws)
    count = int(rate * length)
    if variant == "cutoff_repo":
        return {int(u * length) for u in draws[:count]}
    places = range(1 if variant == "default" else 0, length)
    return set(sorted(places, key=lambda i: draws[i])[:count])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.95])
def test_cut_tokens_equals_the_naive_loop(variant, rate):
    draws = uniform(int(LENGTHS.sum()))
    cut = cut_tokens(LENGTHS, draws, rate, variant)
    for row, keep in zip(by_row(draws), by_row(cut.embed), strict=True):
        gone = naive_cut_tokens(row, rate, variant)
        assert keep == [place not in gone for place in range(len(row))]
    assert torch.equal(
        cut.attend, torch.ones_like(cut.embed) if variant == "consert" else cut.embed
    )


def test_cut_tokens_cuts_all_but_the_first_equally_often():
    lengths = torch.full((4000,), 6)
    keep = cut_tokens(lengths, uniform(24_000), 0.4).embed.view(4000, 6)
    assert (keep.sum(1) == 4).all()
    assert keep[:, 0].all()
    cut = (~keep[:, 1:]).sum(0)
    assert ((cut - 1600).abs() < 5 * (4000 * 0.4 * 0.6) ** 0.5).all()


def test_cut_tokens_with_replacement_may_cut_fewer():
    lengths = torch.full((2000,), 4)
    keep = cut_tokens(lengths, uniform(8000), 0.5, "cutoff_repo").embed.view(2000, 4)
    cut = Counter((~keep).sum(1).tolist())
    assert set(cut) == {1, 2}
    assert abs(cut[1] - 500) < 5 * (2000 * 0.25 * 0.75) ** 0.5
    assert not keep[:, 0].all()


def naive_cut_span(draw, length, rate, variant):
    width = int(rate * length)
    first = int(draw * (length - width)) + (variant == "default")
    return set(range(first, first + width))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rate", [0.0, 0.3, 0.95])
def test_cut_span_equals_the_naive_loop(variant, rate):
    draws = uniform(len(LENGTHS))
    cut = cut_span(LENGTHS, draws, rate, variant)
    rows = zip(draws.tolist(), LENGTHS.tolist(), by_row(cut.embed), strict=True)
    for draw, length, keep in rows:
        gone = naive_cut_span(draw, length, rate, variant)
        assert keep == [place not in gone for place in range(length)]
        assert length == 0 or any(keep)
    assert torch.equal(
        cut.attend, torch.ones_like(cut.embed) if variant == "consert" else cut.embed
    )


def test_cut_span_reaches_every_place_but_the_first():
    lengths = torch.full((1000,), 6)
    keep = cut_span(lengths, uniform(1000), 0.4).embed.view(1000, 6)
    assert {tuple(row) for row in (~keep).nonzero()[:, 1].view(1000, 2).tolist()} == {
        (1, 2), (2, 3), (3, 4), (4, 5),
    }  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_cut_features_equals_the_naive_loop(variant):
    draws = uniform(5, 40)
    keep = cut_features(draws, 0.2, variant)
    for row, kept in zip(draws.tolist(), keep.tolist(), strict=True):
        gone = {int(u * 40) for u in row[:8]}
        if variant != "cutoff_repo":
            gone = set(sorted(range(40), key=lambda i: row[i])[:8])
        assert kept == [column not in gone for column in range(40)]


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_cutoff_rejects_a_rate_that_leaves_nothing(rate):
    with pytest.raises(UserError, match=f"at least 0 and below 1, not {rate}"):
        cut_tokens(LENGTHS, uniform(int(LENGTHS.sum())), rate)


@pytest.mark.parametrize("keep_first", [True, False])
def test_shuffle_positions_permutes_inside_rows(keep_first):
    positions = shuffle_positions(LENGTHS, uniform(int(LENGTHS.sum())), keep_first)
    for row, length in zip(by_row(positions), LENGTHS.tolist(), strict=True):
        assert sorted(row) == list(range(length))
        assert not (keep_first and length) or row[0] == 0
    assert by_row(positions)[5] != list(range(20))


def test_shuffle_positions_takes_every_order_equally_often():
    lengths = torch.full((6000,), 4)
    positions = shuffle_positions(lengths, uniform(24_000)).view(6000, 4)
    counts = Counter(map(tuple, positions.tolist()))
    assert len(counts) == 6
    assert all(abs(count - 1000) < 5 * 1000**0.5 for count in counts.values())
    moved = shuffle_positions(lengths, uniform(24_000), keep_first=False).view(6000, 4)
    assert len(set(map(tuple, moved.tolist()))) == 24


def test_draws_of_a_row_do_not_depend_on_its_batch():
    def cut(rows):
        lengths = LENGTHS[torch.tensor(rows)]
        rngs = [draw_generator(3, 1, row, "positive") for row in rows]
        keep = cut_tokens(lengths, draw_uniform(rngs, lengths.tolist()), 0.4).embed
        return dict(zip(rows, by_row(keep, lengths), strict=True))

    together, alone = cut([0, 3, 5, 4]), cut([5])
    assert together[5] == alone[5]
    assert not all(alone[5])


def test_draw_uniform_takes_from_each_row_what_it_asks_for():
    draws = draw_uniform([random.Random(1), random.Random(2), random.Random(1)], [2, 0, 3])
    assert draws[:2].tolist() == draws[2:4].tolist()
    assert len(draws) == 5
    assert draw_uniform([], []).shape == (0,)


CHANGES = (CutTokens(0.3), CutSpan(0.2), CutFeatures(0.25, 8), ShufflePositions())
FIELDS = ("positions", "embed", "attend", "features")


def tokenize(texts):
    return Tokens.from_lists([[1] * len(text.split()) for text in texts])


def changes_of(row, epoch=0, view=None, rows=range(6)):
    """What happens to one row of a batch of these rows."""
    texts = [{"text": " ".join("abcdefghij"[: 4 + i])} for i in rows]
    collate = Collate(
        {"anchor": view or View("text", changes=CHANGES)}, {"anchor": tokenize}, seed=3
    )
    batch = collate(texts, np.array(list(rows)), epoch)
    place = list(rows).index(row)
    changes = batch.tokens["anchor"].rows(place, place + 1).changes
    return [getattr(changes, field) for field in FIELDS]


def same(one, other):
    return all(map(torch.equal, one, other))


def test_a_row_is_changed_the_same_whatever_batch_it_is_in():
    assert same(changes_of(4), changes_of(4, rows=[5, 4]))
    assert not same(changes_of(4), changes_of(4, epoch=1))


def test_a_view_that_draws_once_changes_tokens_once():
    view = View("text", changes=CHANGES, once=True)
    assert same(changes_of(4, view=view), changes_of(4, epoch=1, view=view))


def test_cuts_add_up():
    positions, embed, attend, features = changes_of(5)
    assert sorted(positions.tolist()) == list(range(9))
    assert 9 - int(embed.sum()) in range(2, 4)  # 2 tokens, and a span of 1
    assert torch.equal(embed, attend)
    assert int(features.sum()) == 6
    only = changes_of(5, view=View("text", changes=(CutTokens(0.3, "consert"),)))
    assert only[2] is None


@pytest.mark.parametrize("kind", [CutTokens, CutSpan, lambda rate: CutFeatures(rate, 8)])
def test_a_rate_of_one_is_refused_when_the_change_is_made(kind):
    with pytest.raises(UserError, match="rate of a cutoff must be"):
        kind(1.0)
