"""Hard negatives: corpus rows that look relevant to a query, without those that probably are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from textcl.errors import UserError
from textcl.retrieval.search import search

Threshold = Callable[[float], float]
"""The highest score that a negative may have, from the lowest score of the query's positives."""


def absolute_margin(margin: float) -> Threshold:
    """Negatives score at least `margin` below the weakest positive (TopK-MarginPos).

    Source: Moreira et al. 2024, section 3, https://arxiv.org/abs/2407.15831
    """
    return lambda positive: positive - margin


def relative_margin(margin: float) -> Threshold:
    """Negatives score at least a share of the weakest positive's score below it: p − |p|·margin.

    0.05 is TopK-PercPos with 95 %. Where the positive's score is negative, p·95 % would lie above it; this never does.

    Source: Moreira et al. 2024, section 3, https://arxiv.org/abs/2407.15831
    """
    return lambda positive: positive - abs(positive) * margin


@dataclass(frozen=True)
class MiningRules:
    """Rules by which candidates become negatives. Ranks count after all other rules, from 0, positives apart.

    Args:
        negatives: How many a query is to have.
        range_min: Ranks skipped.
        range_max: Rank at which candidates end; None for `negatives` more than are skipped, or ten times as many where
            a threshold or `max_score` will drop some, and as many again as a query has positives at most.
        thresholds: A negative may lie above none of them.
        max_score: The highest score of a negative.
        min_score: The lowest.
        keep_positives: Leave the query's positives among the candidates.

    Raises:
        UserError: If a rank range cannot hold the negatives.
    """

    negatives: int = 3
    range_min: int = 0
    range_max: int | None = None
    thresholds: tuple[Threshold, ...] = ()
    max_score: float = float("inf")
    min_score: float = float("-inf")
    keep_positives: bool = False

    def __post_init__(self) -> None:
        if self.negatives < 1 or self.range_min < 0:
            raise UserError(
                "mining takes 1 negative or more and skips 0 ranks or more, "
                f"got {self.negatives} and {self.range_min}"
            )
        if self.range_max is not None and self.range_max - self.range_min < self.negatives:
            raise UserError(
                f"ranks {self.range_min} to {self.range_max} cannot hold {self.negatives} negatives: widen the range"
            )

    def last_rank(self, positives: int) -> int:
        """The rank at which candidates end, where a query has at most so many positives."""
        if self.range_max is not None:
            return self.range_max
        drops = bool(self.thresholds) or self.max_score < float("inf")
        return self.range_min + self.negatives * (10 if drops else 1) + positives

    def bounds(self, weakest: float) -> tuple[float, float]:
        """The lowest and the highest score of a negative, beside a positive of the score `weakest`."""
        highest = min([self.max_score, *(threshold(weakest) for threshold in self.thresholds)])
        return self.min_score, highest


@dataclass(frozen=True)
class Mined:
    """Negatives of one query.

    Args:
        positives: Distinct rows of its positives.
        positive_scores: Their scores.
        rows: Rows of its negatives, by descending score; fewer than asked for where too few passed the rules.
        scores: Their scores.
        eligible: Rows that the negatives were taken from, by descending score.
        dropped: Rows of the searched window that a threshold or score bound dropped: suspected false negatives.
    """

    positives: list[int]
    positive_scores: list[float]
    rows: list[int]
    scores: list[float]
    eligible: list[int]
    dropped: list[int]


def mine(
    queries: Float[Tensor, "Q D"],
    corpus: Float[Tensor, "N D"],
    positives: Sequence[Sequence[int]],
    rules: MiningRules,
    duplicates: Sequence[Collection[int]] | None = None,
    generator: np.random.Generator | None = None,
) -> list[Mined]:
    """Negatives of every query, from an exact search of the corpus.

    Args:
        queries: Vectors; unit rows for the cosine.
        corpus: Vectors of the texts searched, positives among them.
        positives: Corpus rows of the positives of each query, once for every pair.
        rules: Which candidates are kept.
        duplicates: Further rows that may not be a query's negative: texts that equal it or one of its positives, as
            `duplicate_rows` finds them.
        generator: Draws the negatives among those eligible; None takes those of the highest scores.

    Raises:
        UserError: If a query has no positive, or a vector is not finite.

    Source: `mine_hard_negatives` of sentence-transformers 6.2, for the order of the rules
    """
    _check_positives(queries, corpus, positives)
    banned = [set(rows) for rows in positives]
    if duplicates is not None:
        banned = [rows | set(more) for rows, more in zip(banned, duplicates, strict=True)]
    if not len(queries):
        return []
    most = max(map(len, positives))
    last = rules.last_rank(most)
    hits = search(queries, corpus, last + max(most, *map(len, banned)))
    windows = zip(hits.rows.tolist(), hits.scores.tolist(), strict=True)
    mined: list[Mined] = []
    for place, window in enumerate(windows):
        own = list(dict.fromkeys(positives[place]))
        scores: list[float] = (corpus[own].to(queries) @ queries[place]).tolist()
        allowed = set[int]() if rules.keep_positives else banned[place]
        candidates = [pair for pair in zip(*window, strict=True) if pair[0] not in allowed]
        mined.append(select(own, scores, candidates, rules, last, generator))
    return mined


def select(
    positives: list[int],
    positive_scores: list[float],
    candidates: list[tuple[int, float]],
    rules: MiningRules,
    last: int,
    generator: np.random.Generator | None,
) -> Mined:
    """The negatives of one query among its candidates.

    Args:
        positives: Rows.
        positive_scores: Their scores.
        candidates: Row and score of what may be a negative, by descending score.
        rules: Which are kept.
        last: Rank at which candidates end, see `MiningRules.last_rank`.
        generator: Draws among those eligible; None takes those of the highest scores.
    """
    lowest, highest = rules.bounds(min(positive_scores))
    passing = [pair for pair in candidates if lowest <= pair[1] <= highest]
    eligible = passing[rules.range_min : last]
    taken = eligible[: rules.negatives]
    if generator is not None:
        places = generator.choice(len(eligible), len(taken), replace=False)
        taken = [eligible[place] for place in np.sort(places)]
    return Mined(
        positives,
        positive_scores,
        [row for row, _ in taken],
        [score for _, score in taken],
        [row for row, _ in eligible],
        [row for row, score in candidates if not lowest <= score <= highest],
    )


def duplicate_rows(
    queries: Sequence[str],
    corpus: Sequence[str],
    positives: Sequence[Sequence[int]],
    key: Callable[[str], str],
) -> list[set[int]]:
    """Corpus rows whose text equals the query's, or that of one of its positives.

    Args:
        queries: Texts.
        corpus: Texts.
        positives: Corpus rows of the positives of each query.
        key: What makes two texts equal, such as `textcl.data.texts.normal_text`.
    """
    rows: dict[str, set[int]] = {}
    keys = [key(text) for text in corpus]
    for row, text in enumerate(keys):
        rows.setdefault(text, set()).add(row)
    empty = set[int]()
    return [
        rows.get(key(query), empty).union(*(rows[keys[row]] for row in own))
        for query, own in zip(queries, positives, strict=True)
    ]


@dataclass(frozen=True)
class RankWindow:
    """Candidates of one query between two ranks.

    Args:
        window: Rows at those ranks, best first; positives and the query's own text take up ranks.
        eligible: Rows of the window that may be negatives.
    """

    window: list[int]
    eligible: list[int]


def rank_windows(
    queries: Float[Tensor, "Q D"],
    corpus: Float[Tensor, "N D"],
    banned: Sequence[Collection[int]],
    start: int,
    stop: int,
) -> list[RankWindow]:
    """Candidates at raw ranks `start` to `stop` − 1 of every query, as the miner of BGE takes them.

    Args:
        queries: Vectors.
        corpus: Vectors.
        banned: Rows of each query that may not be negatives.
        start: The first rank, from 0.
        stop: The rank after the last.

    Raises:
        UserError: If the range holds no rank.

    Source: Xiao et al. 2023, https://arxiv.org/abs/2309.07597
    """
    if not 0 <= start < stop:
        raise UserError(
            f"a window of ranks begins at 0 or later and ends after it begins, got {start} to {stop}"
        )
    ranked = search(queries, corpus, stop).rows[:, start:].tolist()
    pairs = zip(ranked, banned, strict=True)
    return [RankWindow(rows, [row for row in rows if row not in out]) for rows, out in pairs]


def draw_or_fill(
    eligible: Sequence[int],
    count: int,
    rows: int,
    banned: Collection[int],
    generator: np.random.Generator,
) -> list[int]:
    """`count` of the eligible rows, drawn; all of them and random others of the corpus where there are fewer.

    No row comes twice, where the official script may repeat one.

    Args:
        eligible: Rows to draw from.
        count: How many; fewer where the corpus has no more.
        rows: Rows of the corpus.
        banned: Rows that may not fill the list.
        generator: Draws.
    """
    if len(eligible) >= count:
        return [eligible[n] for n in generator.choice(len(eligible), count, replace=False)]
    out = {*eligible, *banned}
    others = [row for row in range(rows) if row not in out]
    short = min(count - len(eligible), len(others))
    return [*eligible, *(others[n] for n in generator.choice(len(others), short, replace=False))]


def _check_positives(queries: Tensor, corpus: Tensor, positives: Sequence[Sequence[int]]) -> None:
    if len(positives) != len(queries):
        raise UserError(
            f"{len(queries)} queries need a list of positives each, got {len(positives)}"
        )
    for place, own in enumerate(positives):
        if not own:
            raise UserError(f"query {place} has no positive: negatives are judged against one")
        if not all(0 <= row < len(corpus) for row in own):
            raise UserError(
                f"query {place} names a positive outside of the {len(corpus)} corpus rows"
            )
