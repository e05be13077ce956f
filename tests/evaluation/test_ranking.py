"""Measures of rankings against slow loops; the official values are in tests/reference_cases."""

import math
import random

import numpy as np
import pytest

from textcl.errors import UserError
from textcl.evaluation.ranking import (
    RankedQuery,
    rank_measures,
    rank_rows,
    trec_order,
)


def drawn(seed):
    draw = random.Random(seed)
    documents = [f"d{n}" for n in range(12)]
    qrels = {f"q{q}": {d: draw.randint(-1, 3) for d in draw.sample(documents, 6)} for q in range(5)}
    runs = {q: {d: draw.randint(0, 5) / 5 for d in draw.sample(documents, 9)} for q in qrels}
    return qrels, runs


def slow(judged, run, k):
    """Every measure of one query, from its definition."""
    order = sorted(run, reverse=True)
    order = sorted(order, key=lambda d: run[d], reverse=True)[:k]
    relevant = {d for d, grade in judged.items() if grade >= 1}
    found = [d in relevant for d in order]
    dcg = sum(max(judged.get(d, 0), 0) / math.log2(i + 2) for i, d in enumerate(order))
    best = sorted((max(grade, 0) for grade in judged.values()), reverse=True)[:k]
    ideal = sum(gain / math.log2(i + 2) for i, gain in enumerate(best))
    precisions = [sum(found[: i + 1]) / (i + 1) for i in range(len(found)) if found[i]]
    return {
        f"ndcg@{k}": dcg / ideal if ideal else 0.0,
        f"map@{k}": sum(precisions) / len(relevant) if relevant else 0.0,
        f"mrr@{k}": next((1 / (i + 1) for i, hit in enumerate(found) if hit), 0.0),
        f"recall@{k}": sum(found) / len(relevant) if relevant else 0.0,
        f"precision@{k}": sum(found) / k,
        f"success@{k}": float(any(found)),
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 4, 20])
def test_is_what_the_definitions_say(seed, k):
    qrels, runs = drawn(seed)
    result = rank_measures(qrels, runs, [k])
    for query in qrels:
        wanted = slow(qrels[query], runs[query], k)
        assert {name: result.per_query[query][name] for name in wanted} == pytest.approx(wanted)


def test_equal_scores_are_ordered_by_descending_bytes_of_the_id():
    assert trec_order({"d10": 1.0, "d9": 1.0, "a": 1.0, "D": 1.0, "é": 1.0}) == [
        "é",
        "d9",
        "d10",
        "a",
        "D",
    ]
    assert trec_order({"a": 0.3 + 1e-12, "b": 0.3}) == ["b", "a"]  # equal in single precision


def test_every_judged_query_counts_in_the_mean_and_the_missing_are_told():
    qrels = {"found": {"a": 1}, "no run": {"a": 1}, "none relevant": {"a": 0}}
    runs = {"found": {"a": 1.0}, "none relevant": {"a": 1.0}, "unknown": {"a": 1.0}}
    result = rank_measures(qrels, runs)
    assert result.mean["ndcg@10"] == pytest.approx(1 / 3)
    assert (result.queries, result.without_run, result.without_relevant) == (3, 1, 1)
    assert result.unjudged == 1
    assert result.values("mrr") == [1.0, 0.0]


def test_the_level_touches_binary_measures_and_never_ndcg():
    low, high = (RankedQuery.of({"a": 1, "b": 2}, {"a": 2.0, "b": 1.0}, level) for level in (1, 2))
    assert (low.reciprocal_rank(), high.reciprocal_rank()) == (1.0, 0.5)
    assert low.ndcg() == high.ndcg()


def test_what_is_never_retrieved_gives_0_and_lowers_the_ideal():
    query = RankedQuery((None, 1), (1, 3))
    assert query.precision(10) == 0.1
    assert query.ndcg(2) == pytest.approx((1 / math.log2(3)) / (3 + 1 / math.log2(3)))
    assert RankedQuery.of({}, {}).ndcg(10) == 0.0


def test_a_score_that_is_not_finite_and_an_empty_table_are_refused():
    with pytest.raises(UserError, match="document 'a' has the score nan"):
        rank_measures({"q": {"a": 1}}, {"q": {"a": math.nan}})
    with pytest.raises(UserError, match="no judged query"):
        rank_measures({}, {"q": {"a": 1.0}})
    with pytest.raises(UserError, match="cuts are ranks from 1, got 0"):
        rank_measures({"q": {"a": 1}}, {}, [0])


def judged_rows(seed, ties):
    draw = np.random.default_rng(seed)
    documents = [f"d{n}" for n in draw.permutation(40)]
    rows = np.stack([draw.choice(40, 12, replace=False) for _ in range(9)])
    scores = draw.integers(0, 4, (9, 12)) / 3 if ties else draw.random((9, 12))
    qrels = {
        f"q{n}": {str(d): int(draw.integers(-1, 4)) for d in draw.choice([*documents, "gone"], 8, replace=False)}
        for n in range(9)
    }  # fmt: skip
    return qrels, documents, rows, scores


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("level", [1, 2])
def test_rows_of_a_search_give_what_each_query_gives_alone(ties, level):
    qrels, documents, rows, scores = judged_rows(level, ties)
    result = rank_rows(qrels, documents, rows, scores, [1, 5, 50], level)
    for query, places, own in zip(qrels, rows, scores, strict=True):
        run = {documents[place]: float(score) for place, score in zip(places, own, strict=True)}
        alone = RankedQuery.of(qrels[query], run, level)
        values = result.per_query[query]
        for k in (1, 5, 50):
            assert values[f"ndcg@{k}"] == pytest.approx(alone.ndcg(k), abs=1e-12)
            assert values[f"map@{k}"] == pytest.approx(alone.average_precision(k), abs=1e-12)
            assert values[f"mrr@{k}"] == alone.reciprocal_rank(k)
            assert values[f"recall@{k}"] == alone.recall(k)
            assert values[f"precision@{k}"] == alone.precision(k)
            assert values[f"success@{k}"] == alone.success(k)
        assert values["map"] == pytest.approx(alone.average_precision(), abs=1e-12)
    assert result.mean == pytest.approx(
        rank_measures(
            qrels,
            {
                q: {documents[p]: float(s) for p, s in zip(*both, strict=True)}
                for q, both in zip(qrels, zip(rows, scores, strict=True), strict=True)
            },
            [1, 5, 50],
            level,
        ).mean
    )


def test_rows_without_a_hit_or_with_a_broken_score():
    empty = np.empty((1, 0))
    assert rank_rows({"q": {"a": 1}}, ["a"], empty.astype(int), empty).mean["map"] == 0
    with pytest.raises(UserError, match="document 'a' has the score inf"):
        rank_rows({"q": {"a": 1}}, ["a"], np.array([[0]]), np.array([[math.inf]]))
