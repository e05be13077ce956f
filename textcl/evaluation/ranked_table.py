"""Measures of many ranked lists at once: the arithmetic of `RankedQuery` on arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from textcl.errors import UserError

Grades = Mapping[str, int]


@dataclass(frozen=True, eq=False)
class RankedTable:
    """Grades of ranked lists, a row a query.

    Args:
        grades: Of the retrieved documents, best first; 0 where unjudged or where the list has ended.
        judged: All grades of each query, retrieved or not.
        level: Lowest grade that counts as relevant.
    """

    grades: Int[np.ndarray, "Q k"]
    judged: Sequence[Sequence[int]]
    level: int = 1

    @classmethod
    def of_lists(
        cls, lists: Sequence[Sequence[int]], judged: Sequence[Sequence[int]], level: int
    ) -> RankedTable:
        """Lists of several lengths."""
        return cls(_padded(lists), judged, level)

    def measures(self, cuts: Sequence[int]) -> dict[str, Float[np.ndarray, " Q"]]:
        """`ndcg@k`, `map@k`, `mrr@k`, `recall@k`, `precision@k`, `success@k`, `map` and `mrr` of every query."""
        relevant = np.array([sum(g >= self.level for g in own) for own in self.judged], np.float64)
        hit = self.grades >= self.level
        ranks = np.arange(1, self.grades.shape[1] + 1)
        hits = hit.cumsum(axis=1)
        precisions = (hit * hits / ranks).cumsum(axis=1)
        reciprocal = np.maximum.accumulate(hit / ranks, axis=1)
        gains = _discounted(self.grades)
        ideal = _discounted(-np.sort(-_padded(self.judged), axis=1))
        at: Mapping[str, Callable[[int], Float[np.ndarray, " Q"]]] = {
            "ndcg": lambda k: _share(_at(gains, k), _at(ideal, k)),
            "map": lambda k: _share(_at(precisions, k), relevant),
            "mrr": lambda k: _at(reciprocal, k),
            "recall": lambda k: _share(_at(hits, k), relevant),
            "precision": lambda k: _at(hits, k) / k,
            "success": lambda k: (_at(hits, k) > 0).astype(np.float64),
        }
        values = {f"{name}@{k}": measure(k) for name, measure in at.items() for k in cuts}
        depth = len(ranks)
        return values | {"map": at["map"](depth), "mrr": at["mrr"](depth)}


def ordered_rows(
    rows: Int[np.ndarray, "Q k"], scores: Float[np.ndarray, "Q k"], documents: Sequence[str]
) -> Int[np.ndarray, "Q k"]:
    """Every list in the order of trec_eval: by score in single precision; of equal ones, the id higher in bytes.

    Args:
        rows: Places of the retrieved documents.
        scores: Their scores.
        documents: Ids by place.

    Raises:
        UserError: If a score is not finite.
    """
    broken = np.argwhere(~np.isfinite(scores))
    if len(broken):
        query, rank = broken[0].tolist()
        raise UserError(
            f"document {documents[int(rows[query, rank])]!r} has the score {scores[query, rank]}: "
            "a ranking takes finite scores only"
        )
    with np.errstate(over="ignore"):
        single = scores.astype(np.float32)
    order = np.argsort(-single, axis=1, kind="stable")
    rows, single = (np.take_along_axis(each, order, axis=1) for each in (rows, single))
    for query in np.flatnonzero((single[:, 1:] == single[:, :-1]).any(axis=1)):
        pairs = zip(single[query].tolist(), rows[query].tolist(), strict=True)
        keys = sorted(((score, documents[row].encode(), row) for score, row in pairs), reverse=True)
        rows[query] = [row for _, _, row in keys]
    return rows


def own_last(rows: Int[np.ndarray, "Q k"], own: Int[np.ndarray, " Q"]) -> Int[np.ndarray, "Q k"]:
    """Every list with the query's own document at its end, where it counts for no measure if it is not relevant."""
    order = np.argsort(rows == own[:, None], axis=1, kind="stable")
    return np.take_along_axis(rows, order, axis=1)


def grades_of_rows(
    rows: Int[np.ndarray, "Q k"], judgements: Sequence[Grades], documents: Sequence[str]
) -> Int[np.ndarray, "Q k"]:
    """Grade of every retrieved document, 0 where it is not judged."""
    place_of = dict(zip(documents, range(len(documents)), strict=True))
    queries = np.repeat(np.arange(len(judgements)), [len(own) for own in judgements])
    places = np.array([place_of.get(name, -1) for own in judgements for name in own], np.int64)
    grades = np.array([grade for own in judgements for grade in own.values()], np.int64)
    keys = (queries * len(documents) + places)[places >= 0]
    if not len(keys) or not rows.size:
        return np.zeros_like(rows)
    order = np.argsort(keys)
    keys, grades = keys[order], grades[places >= 0][order]
    wanted = rows + len(documents) * np.arange(len(rows))[:, None]
    nearest = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[nearest] == wanted, grades[nearest], 0)


def _padded(lists: Sequence[Sequence[int]]) -> Int[np.ndarray, "Q k"]:
    table = np.zeros((len(lists), max(map(len, lists), default=0)), np.int64)
    for row, values in zip(table, lists, strict=True):
        row[: len(values)] = values
    return table


def _discounted(grades: Int[np.ndarray, "Q k"]) -> Float[np.ndarray, "Q k"]:
    """Discounted gain of the first k, for every k."""
    ranks = np.arange(2, grades.shape[1] + 2)
    return (np.maximum(grades, 0) / np.log2(ranks)).cumsum(axis=1)


def _at(sums: np.ndarray, k: int) -> np.ndarray:
    """The column of rank k, or the last one."""
    return sums[:, min(k, sums.shape[1]) - 1] if sums.shape[1] else np.zeros(len(sums))


def _share(part: np.ndarray, whole: np.ndarray) -> Float[np.ndarray, " Q"]:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
