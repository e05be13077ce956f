"""Exact search: the best rows of a corpus for every query, in memory that does not grow with the corpus."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from textcl.arithmetic import widen
from textcl.errors import UserError
from textcl.retrieval.products import Pairs, Screen, exact, exact_pairs

Decode = Callable[[Tensor], Tensor]
"""Stored rows (n, C) as the float rows (n, D) that queries are multiplied with."""

QUERY_BLOCK = 1024
CORPUS_BLOCK = 4096
_GROUP = 64
_MANY = 128  # one row in so many scored apart costs about as much as the product of all


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
    memory map. Scores have the precision of the queries, half precision becomes float32; they are summed in float64
    and rounded once, and do not depend on the blocks. Fast products with
    a bound on their error rule most rows out first.

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
    screens = [Screen(part) for part in wide.split(query_block)]
    best = [_nothing(screen.queries) for screen in screens]
    for start in range(0, len(corpus), corpus_block):
        rows = decode(corpus[start : start + corpus_block].to(wide.device)).to(wide.dtype)
        longest = _longest(rows, wide, start)
        out = None if removed is None else removed[start : start + corpus_block].to(wide.device)
        block = _Block(rows, longest, out, start)
        best = [
            _improved(found, screen, block, k) for found, screen in zip(best, screens, strict=True)
        ]
    hits = _stacked(best)
    if removed is None:
        return hits
    left = len(corpus) - int(removed.sum())
    return Hits(hits.rows[:, :left], hits.scores[:, :left])


@dataclass(frozen=True)
class _Block:
    """Rows of the corpus, the norm of the longest, those that do not count, and the place of the first."""

    rows: Tensor
    longest: float
    removed: Tensor | None
    start: int

    def best(self, queries: Tensor, k: int) -> Hits:
        """The best rows of the block."""
        products = exact(queries, self.rows)
        if self.removed is not None:
            products.masked_fill_(self.removed, float("-inf"))
        return _best_of(products, k, self.start)


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


def _improved(best: Hits, screen: Screen, block: _Block, k: int) -> Hits:
    """The best of a block and those before it; only for queries that the block may have something better for."""
    queries = screen.queries
    if best.rows.shape[1] < k:
        return _merged(best, block.best(queries, k), k)
    found = screen.possible(block.rows, block.longest, best.scores[:, -1], block.removed)
    if found is None:
        return _merged(best, block.best(queries, k), k)
    places, wanted = found
    counts = torch.bincount(wanted.query, minlength=len(places))
    many = counts > len(block.rows) // _MANY
    best = _replaced(best, places[many], k, lambda some: block.best(queries[some], k))
    few = wanted.without(many)
    return _replaced(
        best, places[~many], k, lambda some: _scored(queries[some], block, few, counts[~many])
    )


def _replaced(best: Hits, places: Tensor, k: int, more: Callable[[Tensor], Hits]) -> Hits:
    """The lists at some places together with more rows for them."""
    if not len(places):
        return best
    after = _merged(Hits(best.rows[places], best.scores[places]), more(places), k)
    return Hits(
        best.rows.index_copy(0, places, after.rows),
        best.scores.index_copy(0, places, after.scores),
    )


def _scored(queries: Tensor, block: _Block, wanted: Pairs, counts: Tensor) -> Hits:
    """Scores of the wanted rows of a block, those of a query side by side and in their order."""
    query, row = wanted.query, wanted.row
    column = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[query]
    shape = len(queries), int(counts.max())
    rows = row.new_zeros(shape)
    scores = queries.new_full(shape, float("-inf"))
    rows[query, column] = row + block.start
    scores[query, column] = exact_pairs(queries[query], block.rows[row])
    return Hits(rows, scores)


def _merged(best: Hits, more: Hits, k: int) -> Hits:
    """Both together; `best` has the lower rows, so a stable sort keeps them first."""
    rows = torch.cat([best.rows, more.rows], dim=1)
    scores = torch.cat([best.scores, more.scores], dim=1)
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    return Hits(rows.gather(1, order), scores.gather(1, order))


def _longest(rows: Tensor, queries: Tensor, start: int) -> float:
    """Norm of the longest row of a block that is in order; infinite where it overflows."""
    if rows.shape[1] != queries.shape[1]:
        raise UserError(
            f"queries have {queries.shape[1]} dimensions and the corpus {rows.shape[1]}: encode both by one model"
        )
    longest = float(rows.norm(dim=1).max())
    if not math.isfinite(longest):
        _check_finite(rows, "corpus", start)
    return longest


def _check_finite(rows: Tensor, name: str, start: int) -> None:
    bad = (~rows.isfinite().all(dim=1)).nonzero()
    if len(bad):
        raise UserError(
            f"row {start + int(bad[0])} of the {name} vectors is not finite: encode it again, or leave it out"
        )
