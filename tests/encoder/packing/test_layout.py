"""Index work of a batch beside plain loops."""

from __future__ import annotations

import pytest
import torch
from families import tiny_encoder

from textcl.encoder.packing.hidden_states import layout_of
from textcl.encoder.packing.places import Places
from textcl.encoder.pooling import Segments
from textcl.encoder.token_encoder import PlannedTokens
from textcl.types import Changes, Tokens

ROWS = [[5, 6, 7], [], [8], [9, 10, 11, 12], [13]]


def tokens_of(rows=ROWS):
    return Tokens.from_lists(rows)


def test_rows_lie_by_length_and_a_row_of_padding_ends_them():
    tokens = tokens_of()
    layout = layout_of(tiny_encoder("bert").backbone, tokens)
    assert layout.order.tolist() == [2, 4, 0, 3]
    ids = tokens.ids[layout.places].tolist()
    assert ids == [8, 13, 5, 6, 7, 9, 10, 11, 12] + [8] * 7  # 16 on a CPU
    assert [ids[place] for place in layout.back.tolist()] == tokens.ids.tolist()
    assert layout.packed.positions.tolist() == [0, 0, 0, 1, 2, 0, 1, 2, 3] + [0] * 7
    assert layout.packed.packing.lengths.tolist() == [1, 1, 3, 4, 7]
    assert layout.packed.packing.groups == [(2, 1), (1, 3), (1, 4), (1, 7)]


def test_rows_in_order_stay():
    layout = layout_of(tiny_encoder("bert").backbone, tokens_of([[1] * 4, [2] * 12]))
    assert layout.in_order
    assert layout.places is None


@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_rows_without_tokens_stay_out_of_rows_in_order(family):
    encoder = tiny_encoder(family)
    vectors = encoder(tokens_of([[], [5, 6], [], [7, 8, 9]]))
    torch.testing.assert_close(vectors[[1, 3]], encoder(tokens_of([[5, 6], [7, 8, 9]])))
    assert not vectors[[0, 2]].any()


def test_positions_of_roberta_leave_padding_out():
    layout = layout_of(tiny_encoder("roberta").backbone, tokens_of([[4, 1, 5], [6]]))
    assert layout.packed.positions.tolist()[:4] == [2, 2, 1, 3]


def test_changes_follow_their_tokens():
    tokens = tokens_of()
    odd = tokens.ids % 2 == 1
    changes = Changes(positions=tokens.ids, embed=odd, attend=~odd, features=torch.eye(5) == 0)
    changed = Tokens(tokens.ids, tokens.lengths, changes)
    packed = layout_of(tiny_encoder("bert").backbone, changed).packed
    ids = [8, 13, 5, 6, 7, 9, 10, 11, 12]
    assert packed.positions.tolist()[:9] == ids
    assert packed.keep.tolist()[:9] == [i % 2 == 1 for i in ids]
    assert packed.packing.attend.tolist() == [i % 2 == 0 for i in ids] + [True] * 7
    assert packed.rows.tolist()[:9] == [2, 4, 0, 0, 0, 3, 3, 3, 3]


def test_places_of_the_attention_of_a_card():
    places = Places.of(torch.tensor([1, 1, 3]))
    assert places.offsets.tolist() == [0, 1, 2, 5]
    assert places.offsets.dtype == torch.int32
    assert places.rows.tolist() == [0, 1, 2, 2, 2]
    assert places.padded.tolist() == [0, 3, 6, 7, 8]
    assert places.real.tolist() == [True, False, False, True, False, False, True, True, True]


@pytest.mark.parametrize(
    ("pooling", "places"),
    [("cls", [0, 3, 4, 8]), ("lasttoken", [2, 3, 7, 8]), ("first_token", [1, 3, 5, 8])],
)
def test_one_token_of_each_row_that_has_any(pooling, places):
    (segments,) = Segments.of(tokens_of().lengths, pooling)
    assert segments.starts.tolist() == places
    assert segments.filled.tolist() == [0, 2, 3, 4]


@pytest.mark.parametrize("family", ["bert", "roberta", "mpnet"])
@pytest.mark.parametrize("pooling", ["mean", "cls+max", "weightedmean", "lasttoken", "mean_all"])
def test_a_plan_made_ahead_changes_nothing(family, pooling):
    encoder = tiny_encoder(family, pooling=pooling)
    tokens = tokens_of()
    planned = encoder.plan(tokens)
    assert isinstance(planned, PlannedTokens) == (pooling != "mean_all")
    assert torch.equal(encoder(planned), encoder(tokens))
    assert encoder.plan(planned) is planned
