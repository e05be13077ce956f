"""A corpus with queries and judgements in the layout of BEIR."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int

from textcl.data.arguments import checked_arguments
from textcl.errors import UserError
from textcl.retrieval.beir_files import read_judgements, read_texts

_log = logging.getLogger("textcl")

EmptyPassages = Literal["last", "remove"]
"""Treatment of judged passages without a text."""


@dataclass(frozen=True)
class RetrievalTask:
    """Texts by id, and grades by query and document; every query has a relevant document.

    Args:
        corpus: Passages that have a text.
        queries: Those that are judged.
        qrels: Grades; may name passages without a text, which no model can rank.
    """

    corpus: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]


@checked_arguments
def load_beir(
    folder: str | Path, split: str = "test", empty: EmptyPassages = "last"
) -> RetrievalTask:
    """The corpus, the judged queries and the judgements of a folder.

    Passages without a text are never ranked. Public data judges some all the same (Cranfield has one), and how many is
    logged as a warning.

    Args:
        folder: With corpus.jsonl (`_id`, `title`, `text`), queries.jsonl (`_id`, `text`) and qrels/<split>.tsv with a
            header; a title is put before its text.
        split: Name of the judgements.
        empty: "last" keeps the judgements of passages without a text, so that a relevant one counts as missed, as for
            any model that ranks it below the depth that is measured; "remove" leaves these judgements out, and queries
            that have no other relevant document.

    Raises:
        UserError: If a file is missing or a line damaged, an id comes twice, a judgement names an unknown query or
            document, or a query has no relevant document.

    Source: Thakur et al. 2021, https://arxiv.org/abs/2104.08663
    """
    place = Path(folder)
    corpus = read_texts(place / "corpus.jsonl")
    queries = read_texts(place / "queries.jsonl")
    path = place / "qrels" / f"{split}.tsv"
    qrels = read_judgements(path, corpus, queries)
    bare = {document for grades in qrels.values() for document in grades if not corpus[document]}
    if bare:
        qrels = _without_text(qrels, bare, empty, path)
    corpus = {document: text for document, text in corpus.items() if text}
    return RetrievalTask(corpus, {query: queries[query] for query in qrels}, qrels)


def own_places(
    queries: Mapping[str, str], corpus: Mapping[str, str], qrels: Mapping[str, Mapping[str, int]]
) -> Int[np.ndarray, " Q"] | None:
    """Place of the document that each query is itself, −1 where it is none; None where none of them is one.

    It has the id and the text of the query, and is not judged relevant for it. BEIR leaves out any document with the id
    of the query, which in other data may be a mere number.
    """
    place_of = {document: place for place, document in enumerate(corpus)}
    own = [
        place_of[query]
        if f" {corpus.get(query, '')}".endswith(f" {text}") and qrels[query].get(query, 0) <= 0
        else -1
        for query, text in queries.items()
    ]
    return np.array(own) if max(own, default=-1) >= 0 else None


def _without_text(
    qrels: dict[str, dict[str, int]], bare: set[str], empty: EmptyPassages, path: Path
) -> dict[str, dict[str, int]]:
    """The judgements that count, and a warning of how many passages have no text."""
    kept = qrels
    if empty == "remove":
        rest = {
            query: {document: grade for document, grade in grades.items() if document not in bare}
            for query, grades in qrels.items()
        }
        kept = {
            query: grades for query, grades in rest.items() if max(grades.values(), default=0) > 0
        }
    judged = sum(document in bare for grades in qrels.values() for document in grades)
    lost = len(qrels) - len(kept)
    what = "are left out" if empty == "remove" else "count as never retrieved"
    _log.warning(
        "%s: %d judged passage%s without a text (%s): their %d judgements %s%s",
        path, len(bare), "s" * (len(bare) > 1), ", ".join(sorted(bare)[:5]), judged, what,
        f", and with them {lost} queries that have no other relevant document" if lost else "",
    )  # fmt: skip
    if not kept:
        raise UserError(f"{path}: no query has a relevant document with a text")
    return kept
