"""BM25, the ranking by words that embeddings have to beat."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from textcl.errors import UserError

K1, B = 1.5, 0.75


def bm25_installed() -> bool:
    """Whether bm25s can be imported."""
    return importlib.util.find_spec("bm25s") is not None


def rank_bm25(
    queries: Mapping[str, str], documents: Mapping[str, str], depth: int
) -> tuple[Int[np.ndarray, "Q k"], Float[np.ndarray, "Q k"], str]:
    """The best documents of each query by BM25 over lower-case words without stop words.

    Args:
        queries: Texts by id.
        documents: Texts by id.
        depth: Documents for each query; fewer where there are no more.

    Returns:
        Places of the documents, best first, their scores, and what ranked them.

    Raises:
        UserError: If bm25s is not installed.

    Source: Robertson & Zaragoza 2009, https://doi.org/10.1561/1500000019; Lù 2024, https://arxiv.org/abs/2407.03618
    """
    if not bm25_installed():
        raise UserError("BM25 needs bm25s: install textcl-train[bm25]")
    import bm25s

    words = partial(bm25s.tokenize, stopwords="en", show_progress=False)
    index = bm25s.BM25(k1=K1, b=B, method="lucene")
    index.index(words(list(documents.values())), show_progress=False)
    tokens = words(list(queries.values()))
    places, scores = index.retrieve(tokens, k=min(depth, len(documents)), show_progress=False)
    name = f"BM25 (lucene, k1={K1}, b={B}, bm25s {bm25s.__version__})"
    return np.asarray(places, np.int64), np.asarray(scores), name
