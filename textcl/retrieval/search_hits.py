"""Documents that a search gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textcl.retrieval.search import Hits
from textcl.retrieval.store import StoredRows


@dataclass(frozen=True)
class SearchHit:
    """A document that a search gave.

    Args:
        id: Its id.
        text: Its text.
        score: Similarity of its vector and the query's.
    """

    id: str
    text: str
    score: float


def documents_of_hits(
    rows: StoredRows, hits: Hits, threshold: float | None
) -> list[list[SearchHit]]:
    """The documents of hits, best first.

    Args:
        rows: Documents of the corpus.
        hits: Their rows and scores for every query; row −1 where there is none.
        threshold: Lowest score; none when None.
    """
    return [
        documents_of_pairs(rows, list(zip(places, scores, strict=True)), threshold)
        for places, scores in zip(hits.rows.tolist(), hits.scores.tolist(), strict=True)
    ]


def documents_of_pairs(
    rows: StoredRows, pairs: Sequence[tuple[int, float]], threshold: float | None
) -> list[SearchHit]:
    """The documents of one query.

    Args:
        rows: Documents of the corpus.
        pairs: Row and score of each, best first; row −1 where there is none.
        threshold: Lowest score; none when None.
    """
    kept = [
        (row, score)
        for row, score in pairs
        if row >= 0 and (threshold is None or score >= threshold)
    ]
    documents = rows.documents(row for row, _ in kept)
    return [
        SearchHit(document.id, document.text, score)
        for document, (_, score) in zip(documents, kept, strict=True)
    ]
