"""Measures of ranked lists as trec_eval defines them: nDCG, MAP, MRR, recall, precision, success.

Pure arithmetic on judgements and scores by id; where both come from is the business of the caller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Float, Int

from textcl.errors import UserError
from textcl.evaluation.ranked_table import RankedTable, grades_of_rows, ordered_rows, own_last

Judgements = Mapping[str, int]
"""Grade of every judged document of one query; an unjudged document has grade 0."""

Run = Mapping[str, float]
"""Score of every retrieved document of one query."""

Gain = Callable[[int], float]


def linear_gain(grade: int) -> float:
    """max(grade, 0), the gain of trec_eval, BEIR and MTEB."""
    return float(max(grade, 0))


def exponential_gain(grade: int) -> float:
    """2^grade − 1 for a positive grade, else 0."""
    return float(2**grade - 1) if grade > 0 else 0.0


def trec_order(run: Run) -> list[str]:
    """Documents of one query, best first: by score in single precision; of equal ones, the id higher in bytes.

    Args:
        run: Finite scores by document id.

    Raises:
        UserError: If a score is not finite.

    Source: trec_eval 9, form_res_rels.c, https://github.com/usnistgov/trec_eval
    """
    for document, score in run.items():
        if not math.isfinite(score):
            raise UserError(
                f"document {document!r} has the score {score}: a ranking takes finite scores only"
            )
    return sorted(
        run, key=lambda document: (np.float32(run[document]), document.encode()), reverse=True
    )


@dataclass(frozen=True)
class RankedQuery:
    """Grades of one query: of its ranking, and of everything judged for it.

    Every measure lies in [0, 1], and is 0 for a query without a relevant document.

    Args:
        grades: Grade of the retrieved documents, best first; None where unjudged, which is not relevant.
        judged: All grades of the query, retrieved or not.
        level: Lowest grade that counts as relevant in the measures that know only relevant or not; nDCG has no level.
    """

    grades: tuple[int | None, ...]
    judged: tuple[int, ...]
    level: int = 1

    @classmethod
    def of(cls, judgements: Judgements, run: Run, level: int = 1) -> RankedQuery:
        """One query, its run ordered as trec_eval does.

        Args:
            judgements: Grades by document id.
            run: Scores by document id.
            level: Lowest grade that counts as relevant.

        Raises:
            UserError: If a score is not finite.
        """
        grades = tuple(judgements.get(document) for document in trec_order(run))
        return cls(grades, tuple(judgements.values()), level)

    @cached_property
    def relevant(self) -> int:
        """Relevant documents of the query, retrieved or not."""
        return sum(grade >= self.level for grade in self.judged)

    @cached_property
    def hits(self) -> list[int]:
        """Ranks of the relevant documents that were retrieved, from 1."""
        return [rank for rank, grade in enumerate(self._known, 1) if grade >= self.level]

    def precision(self, k: int) -> float:
        """Relevant documents among the first k, divided by k also where fewer were retrieved."""
        return self._hits_to(k) / k

    def recall(self, k: int) -> float:
        """Relevant documents among the first k, divided by all relevant ones."""
        return self._hits_to(k) / self.relevant if self.relevant else 0.0

    def success(self, k: int) -> float:
        """1 where a relevant document is among the first k, else 0."""
        return float(self._hits_to(k) > 0)

    def reciprocal_rank(self, k: int | None = None) -> float:
        """One over the rank of the first relevant document; 0 where there is none, or none among the first k."""
        first = next(iter(self.hits), None)
        return 1.0 / first if first is not None and (k is None or first <= k) else 0.0

    def average_precision(self, k: int | None = None) -> float:
        """Precision at every relevant document found, summed to rank k and divided by all relevant ones."""
        if not self.relevant:
            return 0.0
        ranks = enumerate(self.hits, 1)
        return math.fsum(n / rank for n, rank in ranks if k is None or rank <= k) / self.relevant

    def ndcg(self, k: int | None = None, gain: Gain = linear_gain) -> float:
        """Discounted gain of the first k, divided by that of the best possible ranking of all judged documents.

        Source: Järvelin & Kekäläinen 2002, https://doi.org/10.1145/582415.582418
        """
        ideal = _discounted(sorted(map(gain, self.judged), reverse=True)[:k])
        return _discounted(list(map(gain, self._known[:k]))) / ideal if ideal else 0.0

    def r_precision(self) -> float:
        """Precision at as many documents as are relevant."""
        return self.precision(self.relevant) if self.relevant else 0.0

    def bpref(self) -> float:
        """Binary preference: the rarer a document judged not relevant stands above a relevant one, the nearer to 1.

        A negative grade counts as unjudged, as in trec_eval.

        Source: Buckley & Voorhees 2004, https://doi.org/10.1145/1008992.1009000
        """
        refused = sum(0 <= grade < self.level for grade in self.judged)
        most = min(refused, self.relevant)
        above, total = 0, 0.0
        for grade in self.grades:
            if grade is not None and grade >= self.level:
                total += 1.0 - min(above, self.relevant) / most if above else 1.0
            elif grade is not None and grade >= 0:
                above += 1
        return total / self.relevant if self.relevant else 0.0

    @cached_property
    def _known(self) -> list[int]:
        return [grade or 0 for grade in self.grades]

    def _hits_to(self, k: int) -> int:
        return sum(rank <= k for rank in self.hits)


@dataclass(frozen=True)
class RankingResult:
    """Measures of a run, averaged over ALL judged queries: one without a run counts 0, as in `trec_eval -c`.

    Args:
        per_query: Measures by query, such as `per_query["q1"]["ndcg@10"]`; queries without a run are left out.
        mean: Mean of every measure over all judged queries.
        queries: Judged queries.
        without_run: How many of them the run does not have.
        without_relevant: How many of them have no relevant document.
        unjudged: Queries of the run without judgements; they are ignored.
    """

    per_query: dict[str, dict[str, float]]
    mean: dict[str, float]
    queries: int
    without_run: int
    without_relevant: int
    unjudged: int

    def values(self, measure: str) -> list[float]:
        """One measure of every query that has a run, in the order of `per_query`; for `paired_bootstrap`."""
        return [values[measure] for values in self.per_query.values()]


CUTS = (1, 3, 5, 10, 100)


def rank_measures(
    qrels: Mapping[str, Judgements],
    runs: Mapping[str, Run],
    cuts: Sequence[int] = CUTS,
    level: int = 1,
) -> RankingResult:
    """`ndcg@k`, `map@k`, `mrr@k`, `recall@k`, `precision@k`, `success@k`, `map` and `mrr` of a run.

    These are not the numbers of sentence-transformers' InformationRetrievalEvaluator, which ignores grades, orders ties
    otherwise, divides AP@k by min(k, relevant) and leaves out queries without a relevant document.

    Args:
        qrels: Judgements by query.
        runs: Scores by query and document.
        cuts: Values of k, from 1.
        level: Lowest grade that counts as relevant.

    Raises:
        UserError: If nothing is judged, a cut is below 1, or a score is not finite.

    Source: Buckley, trec_eval; Van Gysel & de Rijke 2018, https://arxiv.org/abs/1805.01597
    """
    _check(qrels, cuts)
    known = [query for query in qrels if query in runs]
    table = RankedTable.of_lists(
        [[qrels[q].get(document, 0) for document in trec_order(runs[q])] for q in known],
        [tuple(qrels[q].values()) for q in known],
        level,
    )
    return _result(qrels, known, table, cuts, sum(query not in qrels for query in runs))


def rank_rows(
    qrels: Mapping[str, Judgements],
    documents: Sequence[str],
    rows: Int[np.ndarray, "Q k"],
    scores: Float[np.ndarray, "Q k"],
    cuts: Sequence[int] = CUTS,
    level: int = 1,
    depth: int | None = None,
    own: Int[np.ndarray, " Q"] | None = None,
) -> RankingResult:
    """`rank_measures` of a search's rows, one for each judged query in their order.

    Args:
        qrels: Judgements by query.
        documents: Ids by place in the corpus.
        rows: Places of the documents retrieved.
        scores: Their scores.
        cuts: Values of k, from 1.
        level: Lowest grade that counts as relevant.
        depth: Documents of a list that are measured, the rest is ignored; all when None.
        own: Place of the document that each query is itself, −1 where it is none; it is left out of the query's list,
            which then needs one document more than `depth`.

    Raises:
        UserError: As `rank_measures`.
    """
    _check(qrels, cuts)
    ordered = ordered_rows(rows, scores, documents)
    if own is not None:
        ordered = own_last(ordered, own)
    grades = grades_of_rows(ordered[:, :depth], list(qrels.values()), documents)
    table = RankedTable(grades, [tuple(own.values()) for own in qrels.values()], level)
    return _result(qrels, list(qrels), table, cuts, 0)


def _check(qrels: Mapping[str, Judgements], cuts: Sequence[int]) -> None:
    if not qrels:
        raise UserError(
            "there is no judged query: a ranking is measured against relevance judgements"
        )
    if min(cuts, default=1) < 1:
        raise UserError(f"cuts are ranks from 1, got {min(cuts)}")


def _result(
    qrels: Mapping[str, Judgements],
    known: Sequence[str],
    table: RankedTable,
    cuts: Sequence[int],
    unjudged: int,
) -> RankingResult:
    measures = {name: values.tolist() for name, values in table.measures(cuts).items()}
    per_query = {
        query: dict(zip(measures, values, strict=True))
        for query, *values in zip(known, *measures.values(), strict=True)
    }
    mean = {name: math.fsum(values) / len(qrels) for name, values in measures.items()}
    lonely = sum(all(grade < table.level for grade in own.values()) for own in qrels.values())
    return RankingResult(per_query, mean, len(qrels), len(qrels) - len(known), lonely, unjudged)


def _discounted(gains: Sequence[float]) -> float:
    return math.fsum(gain / _log2(rank + 1) for rank, gain in enumerate(gains, 1) if gain)


@lru_cache(1 << 16)
def _log2(value: int) -> float:
    return math.log2(value)
