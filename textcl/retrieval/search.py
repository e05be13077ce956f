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
from textcl.retrieval.candidates import Candidates
from textcl.retrieval.rounded import Block

Decode = Callable[[Tensor], Tensor]
"""Stored rows (n, C) as the float rows (n, D) that queries are multiplied with."""

QUERY_BLOCK = 1024
CORPUS_BLOCK = 8192


@dataclass(frozen=True)
class Hits:
    """The best rows for every query.

    Args:
        rows: Places in the corpus, best first; of equal scores, the lower place.
        scores: Their scores, descending.
    """

    rows: Int[Tensor, "Q k"]
    scores: Float[Tensor, "Q k"]


@torch.no_grad()
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
    and rounded once, and do not depend on the blocks. Fast products with a bound on their error rule most rows out
    first, so that few more than k rows of a query are scored.

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
    parts = [Candidates.none(part, k) for part in wide.split(query_block)]
    for start in range(0, len(corpus), corpus_block):
        rows = decode(corpus[start : start + corpus_block].to(wide.device)).to(wide.dtype)
        longest = _longest(rows, wide, start)
        out = None if removed is None else removed[start : start + corpus_block].to(wide.device)
        block = Block(rows, start, longest, out)
        parts = [part.after(block) for part in parts]
    left = len(corpus) - (0 if removed is None else int(removed.sum()))
    best = [part.lists.best(min(k, left)) for part in parts]
    return _stacked([Hits(part.rows, part.scores) for part in best])


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
    kept: list[Hits] = [_nothing(wide)]
    for query, rows in zip(wide, hits.rows.sort(dim=1).values, strict=True):
        stored = corpus[rows.to(corpus.device)].to(wide.device)
        scores = (decode(stored).to(wide.dtype) @ query)[None]
        order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
        kept.append(Hits(rows[None].gather(1, order), scores.gather(1, order)))
    return _stacked(kept[1:] or kept)


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
