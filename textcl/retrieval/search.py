"""Exact search: the best rows of a corpus for every query, in memory that does not grow with the corpus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from textcl.arithmetic import widen
from textcl.errors import UserError

Decode = Callable[[Tensor], Tensor]
"""Stored rows (n, C) as the float rows (n, D) that queries are multiplied with."""

QUERY_BLOCK = 1024
CORPUS_BLOCK = 16_384
_GROUP = 64


@dataclass(frozen=True)
class Hits:
    """The best rows for every query.

    Args:
        rows: Places in the corpus, best first; of equal scores, the lower place.
        scores: Their scores, descending.
    """

    rows: Int[Tensor, "Q k"]
    scores: Float[Tensor, "Q k"]


def search(
    queries: Float[Tensor, "Q D"],
    corpus: Shaped[Tensor, "N C"],
    k: int,
    decode: Decode = widen,
    query_block: int = QUERY_BLOCK,
    corpus_block: int = CORPUS_BLOCK,
    removed: Bool[Tensor, " N"] | None = None,
) -> Hits:
    """The k rows of a corpus with the largest dot product, for every query.

    Only one block of products and of decoded rows exists at a time, on the device of the queries; the corpus may be a
    memory map. Products are taken in the precision of the queries, half
    precision in float32.

    Args:
        queries: Vectors; unit rows for the cosine.
        corpus: Vectors, or codes that `decode` turns into them.
        k: How many; fewer where the corpus has no more.
        decode: How a block of the corpus becomes float rows.
        query_block: Queries multiplied at once.
        corpus_block: Rows multiplied at once.
        removed: Rows of the corpus that are never among the best; none when None.

    Raises:
        UserError: If k is below 1, the dimensions differ, or a vector is not finite.
    """
    if k < 1:
        raise UserError(f"a search gives at least 1 row a query, got k = {k}")
    wide = widen(queries)
    _check_finite(wide, "query", 0)
    parts = wide.split(query_block)
    best = [_nothing(part) for part in parts]
    for start in range(0, len(corpus), corpus_block):
        rows = decode(corpus[start : start + corpus_block].to(wide.device)).to(wide.dtype)
        _check_block(rows, wide, start)
        out = None if removed is None else removed[start : start + corpus_block].to(wide.device)
        best = [
            _improved(found, _products(part, rows, out), k, start)
            for found, part in zip(best, parts, strict=True)
        ]
    hits = _stacked(best)
    if removed is None:
        return hits
    left = len(corpus) - int(removed.sum())
    return Hits(hits.rows[:, :left], hits.scores[:, :left])


def _products(queries: Tensor, rows: Tensor, removed: Tensor | None) -> Tensor:
    products = queries @ rows.T
    return products if removed is None else products.masked_fill_(removed, float("-inf"))


def rescored(
    queries: Float[Tensor, "Q D"],
    hits: Hits,
    corpus: Shaped[Tensor, "N C"],
    k: int,
    decode: Decode = widen,
) -> Hits:
    """The best k of what a coarser search found, by their dot product with the decoded rows.

    Args:
        queries: Vectors.
        hits: What the coarser search found.
        corpus: Vectors or codes of all rows.
        k: How many are kept; fewer where `hits` has no more.
        decode: How stored rows become float rows.
    """
    wide = widen(queries)
    found: list[Hits] = [_nothing(wide)]
    for query, rows in zip(wide, hits.rows.sort(dim=1).values, strict=True):
        stored = corpus[rows.to(corpus.device)].to(wide.device)
        scores = (decode(stored).to(wide.dtype) @ query)[None]
        order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
        found.append(Hits(rows[None].gather(1, order), scores.gather(1, order)))
    return _stacked(found[1:] or found)


def padded(parts: Sequence[Hits]) -> Hits:
    """Lists of several lengths as one table, with row −1 where there is none."""
    width = max((part.rows.shape[1] for part in parts), default=0)
    rows = torch.full((len(parts), width), -1)
    scores = torch.full((len(parts), width), float("-inf"))
    for place, part in enumerate(parts):
        count = part.rows.shape[1]
        rows[place, :count], scores[place, :count] = part.rows[0], part.scores[0]
    return Hits(rows, scores)


def _nothing(queries: Tensor) -> Hits:
    empty = queries.new_empty(len(queries), 0)
    return Hits(empty.long(), empty)


def _stacked(blocks: list[Hits]) -> Hits:
    return Hits(torch.cat([b.rows for b in blocks]), torch.cat([b.scores for b in blocks]))


def _best_of(scores: Tensor, k: int, start: int) -> Hits:
    """The best of one block, best first; of equal scores, the lower place."""
    k = min(k, scores.shape[1])
    found = _in_groups(scores, k) if scores.shape[1] >= 2 * k * _GROUP else _highest(scores, k)
    return Hits(found + start, scores.gather(1, found))


def _in_groups(scores: Tensor, k: int) -> Tensor:
    """Places of the k highest, looked for only in the k groups of neighbours whose maxima are the highest."""
    width = scores.shape[1] // _GROUP * _GROUP
    rest = torch.arange(width, scores.shape[1], device=scores.device)
    maxima = scores[:, :width].unflatten(1, (-1, _GROUP)).amax(dim=2)
    values, groups = maxima.topk(k, dim=1)
    first = groups.sort(dim=1).values[:, :, None] * _GROUP
    places = (first + torch.arange(_GROUP, device=scores.device)).flatten(1)
    places = torch.cat([places, rest.expand(len(scores), -1)], dim=1)
    found = places.gather(1, _highest(scores.gather(1, places), k))
    tied = ((maxima >= values[:, -1:]).sum(dim=1) > k).nonzero()[:, 0]
    return found.index_copy(0, tied, _highest(scores[tied], k)) if len(tied) else found


def _highest(scores: Tensor, k: int) -> Tensor:
    """Places of the k highest: `topk` where its choice is the only one, a stable sort where scores tie at the edge."""
    values, places = scores.topk(k, dim=1)
    tied = ((scores >= values[:, -1:]).sum(dim=1) > k).nonzero()[:, 0]
    if len(tied):
        places[tied] = scores[tied].argsort(dim=1, descending=True, stable=True)[:, :k]
    places = places.sort(dim=1).values
    order = scores.gather(1, places).argsort(dim=1, descending=True, stable=True)
    return places.gather(1, order)


def _improved(best: Hits, scores: Tensor, k: int, start: int) -> Hits:
    """The best of a block and those before it; only for queries that the block has something better for."""
    if best.rows.shape[1] < k:
        return _merged(best, _best_of(scores, k, start), k)
    places = (scores.amax(dim=1) > best.scores[:, -1]).nonzero()[:, 0]
    if not len(places):
        return best
    before = Hits(best.rows[places], best.scores[places])
    after = _merged(before, _best_of(scores[places], k, start), k)
    return Hits(
        best.rows.index_copy(0, places, after.rows),
        best.scores.index_copy(0, places, after.scores),
    )


def _merged(best: Hits, more: Hits, k: int) -> Hits:
    """Both together; `best` has the lower rows, so a stable sort keeps them first."""
    rows = torch.cat([best.rows, more.rows], dim=1)
    scores = torch.cat([best.scores, more.scores], dim=1)
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    return Hits(rows.gather(1, order), scores.gather(1, order))


def _check_block(rows: Tensor, queries: Tensor, start: int) -> None:
    if rows.shape[1] != queries.shape[1]:
        raise UserError(
            f"queries have {queries.shape[1]} dimensions and the corpus {rows.shape[1]}: encode both by one model"
        )
    _check_finite(rows, "corpus", start)


def _check_finite(rows: Tensor, name: str, start: int) -> None:
    if rows.sum().isfinite():  # one pass; a sum may overflow where every number is finite
        return
    bad = (~rows.isfinite().all(dim=1)).nonzero()
    if len(bad):
        raise UserError(
            f"row {start + int(bad[0])} of the {name} vectors is not finite: encode it again, or leave it out"
        )
