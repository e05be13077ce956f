"""A corpus with queries and judgements in the layout of BEIR, and how well a model ranks it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from textcl.arithmetic import unit
from textcl.data.arguments import checked_arguments
from textcl.errors import UserError
from textcl.evaluation.benchmarks import Encodes
from textcl.evaluation.ranking import RankingResult, rank_rows
from textcl.retrieval.search import search

_log = logging.getLogger("textcl")

EmptyPassages = Literal["last", "remove"]
"""What becomes of judged passages without a text."""


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
    corpus = _texts(place / "corpus.jsonl")
    queries = _texts(place / "queries.jsonl")
    path = place / "qrels" / f"{split}.tsv"
    qrels = _judgements(path, corpus, queries)
    bare = {document for grades in qrels.values() for document in grades if not corpus[document]}
    if bare:
        qrels = _without_text(qrels, bare, empty, path)
    corpus = {document: text for document, text in corpus.items() if text}
    return RetrievalTask(corpus, {query: queries[query] for query in qrels}, qrels)


def _judgements(
    path: Path, corpus: dict[str, str], queries: dict[str, str]
) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    for number, line in _lines(path):
        cells = line.split("\t")
        if number == 1:
            continue
        if len(cells) != 3 or not cells[2].lstrip("-").isdecimal():
            raise UserError(
                f"{path}:{number}: expected query id, document id and a whole number, got {line!r}"
            )
        query, document, grade = cells
        if query not in queries:
            raise UserError(f"{path}:{number}: query {query!r} is not in queries.jsonl")
        if document not in corpus:
            raise UserError(f"{path}:{number}: document {document!r} is not in corpus.jsonl")
        qrels.setdefault(query, {})[document] = int(grade)
    for query, grades in qrels.items():
        if max(grades.values()) < 1:
            raise UserError(
                f"{path}: query {query!r} has no relevant document; remove its judgements or add one"
            )
    if not qrels:
        raise UserError(f"{path} has no judgement")
    return qrels


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


@checked_arguments
def evaluate_retrieval(
    encoder: Encodes,
    folder: str | Path,
    split: str = "test",
    depth: int = 100,
    empty: EmptyPassages = "last",
) -> RankingResult:
    """Measures of a model's ranking by cosine, every text encoded once.

    A document whose id is that of the query stays, where BEIR drops it: ids of both may be numbers that mean nothing.

    Args:
        encoder: Anything with `encode`.
        folder: In the layout of BEIR, see `load_beir`.
        split: Name of the judgements.
        depth: Documents ranked for each query, at least the largest k of the measures.
        empty: What becomes of judged passages without a text, see `load_beir`.

    Raises:
        UserError: As `load_beir`, or if a vector is not finite.
    """
    task = load_beir(folder, split, empty)
    rows = _vectors(encoder, list(task.corpus.values()))
    hits = search(_vectors(encoder, list(task.queries.values())), rows, depth)
    return rank_rows(task.qrels, list(task.corpus), hits.rows.numpy(), hits.scores.numpy())


def _vectors(encoder: Encodes, texts: list[str]) -> Tensor:
    return unit(torch.from_numpy(np.asarray(encoder.encode(texts), np.float32)))


def _texts(path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for number, line in _lines(path):
        row = _row(path, number, line)
        key, text = str(row["_id"]), f"{row.get('title') or ''} {row.get('text') or ''}".strip()
        if key in texts:
            raise UserError(f"{path}:{number}: the id {key!r} comes twice")
        texts[key] = text
    return texts


def _row(path: Path, number: int, line: str) -> dict[str, object]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UserError(f"{path}:{number}: not a JSON object: {error}") from error
    if not isinstance(row, dict) or not isinstance(row.get("_id"), str):
        raise UserError(f'{path}:{number}: expected an object with a text "_id"')
    return row


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    if not path.is_file():
        raise UserError(
            f"{path} does not exist: a BEIR folder has corpus.jsonl, queries.jsonl and qrels/<split>.tsv"
        )
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line.rstrip("\r\n")
