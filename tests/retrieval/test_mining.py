import numpy as np
import pytest
import torch

from textcl.data.texts import normal_text
from textcl.errors import UserError
from textcl.retrieval import MiningRules, absolute_margin, duplicate_rows, mine, relative_margin
from textcl.retrieval.mining import draw_or_fill, rank_windows

QUERY = torch.tensor([[1.0, 0.0]])


def corpus(*scores):
    """Rows whose score with the query is known."""
    return torch.tensor([[score, 0.5] for score in scores])


def rows(scores, rules, positives=(0,), **options):
    return mine(QUERY, corpus(*scores), [list(positives)], rules, **options)[0]


def test_ranks_count_after_the_positives_and_the_thresholds():
    scores = (0.8, 0.95, 0.7, 0.6, 0.5, 0.4)
    assert rows(scores, MiningRules(2)).rows == [1, 2]
    mined = rows(scores, MiningRules(2, range_min=1, thresholds=(relative_margin(0.05),)))
    assert (mined.rows, mined.dropped) == ([3, 4], [1])
    assert rows(scores, MiningRules(2, thresholds=(absolute_margin(0.25),))).rows == [4, 5]
    assert rows(scores, MiningRules(2, max_score=0.7, min_score=0.55)).rows == [2, 3]


def test_the_weakest_positive_sets_the_threshold():
    scores = (0.9, 0.5, 0.7, 0.4)
    mined = rows(scores, MiningRules(2, thresholds=(absolute_margin(0.0),)), positives=(0, 1))
    assert mined.rows == [3]
    assert mined.positive_scores == pytest.approx([0.9, 0.5])


def test_a_relative_margin_never_lies_above_a_negative_positive():
    assert relative_margin(0.05)(-1.0) == pytest.approx(-1.05)
    assert relative_margin(0.05)(1.0) == pytest.approx(0.95)


def test_duplicates_of_the_query_and_its_positives_are_no_negatives():
    texts = ["Yes.", "yes. ", "Why?", "no"]
    found = duplicate_rows(["Why?"], texts, [[0]], lambda text: normal_text(text).lower())
    assert found == [{0, 1, 2}]
    mined = rows((0.5, 0.9, 0.8, 0.1), MiningRules(1), duplicates=found)
    assert mined.rows == [3]


def test_a_generator_draws_among_the_eligible_and_keeps_their_order():
    rules, scores = MiningRules(2, range_max=6), tuple(np.linspace(0.9, 0.1, 8))
    draws = {tuple(rows(scores, rules, generator=np.random.default_rng(s)).rows) for s in range(60)}
    assert {row for draw in draws for row in draw} == set(range(1, 7))
    assert all(list(draw) == sorted(draw) for draw in draws)


def test_a_short_list_is_never_filled():
    assert rows((0.5, 0.6), MiningRules(5)).rows == [1]


def test_raw_ranks_count_positives_and_fillers_never_repeat():
    window = rank_windows(QUERY, corpus(0.9, 0.8, 0.7, 0.6), [{1}], 1, 3)[0]
    assert (window.window, window.eligible) == ([1, 2], [2])
    filled = draw_or_fill([2], 9, 5, {1}, np.random.default_rng(0))
    assert sorted(filled) == [0, 2, 3, 4]


def test_what_cannot_be_mined_is_refused():
    with pytest.raises(UserError, match="ranks 3 to 5 cannot hold 3 negatives"):
        MiningRules(3, 3, 5)
    with pytest.raises(UserError, match="got 0 and 0"):
        MiningRules(0)
    with pytest.raises(UserError, match="query 0 has no positive"):
        rows((0.5,), MiningRules(), positives=())
    with pytest.raises(UserError, match="outside of the 1 corpus rows"):
        rows((0.5,), MiningRules(), positives=(3,))
    with pytest.raises(UserError, match="row 1 of the corpus vectors is not finite"):
        rows((0.5, float("nan")), MiningRules())
