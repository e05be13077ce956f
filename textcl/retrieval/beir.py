"""A corpus with queries and judgements in the layout of BEIR, and how well a model ranks it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textcl.arithmetic import unit
from textcl.errors import UserError
from textcl.evaluation.benchmarks import Encodes
from textcl.evaluation.ranking import RankingResult, rank_measures
from textcl.retrieval.search import search


@dataclass(frozen=True)
class RetrievalTask:
    """Texts by id, and grades by query and document; every query has a relevant document."""

    corpus: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]


def load_beir(folder: str | Path, split: str = "test") -> RetrievalTask:
    """The corpus, the judged queries and the judgements of a folder.

    Args:
        folder: With corpus.jsonl (`_id`, `title`, `text`), queries.jsonl (`_id`, `text`) and qrels/<split>.tsv with a
            header; a title is put before its text. Empty passages that nobody judged are left out.
        split: Name of the judgements.

    Raises:
        UserError: If a file is missing or a line damaged, an id comes twice, a judged passage is empty, a judgement
            names an unknown query or document, or a query has no relevant document.

    Source: Thakur et al. 2021, https://arxiv.org/abs/2104.08663
    """
    place = Path(folder)
    corpus = _texts(place / "corpus.jsonl")
    queries = _texts(place / "queries.jsonl")
    qrels: dict[str, dict[str, int]] = {}
    path = place / "qrels" / f"{split}.tsv"
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
        if not corpus.get(document, "-"):
            raise UserError(
                f"{path}:{number}: passage {document!r} is empty; write its text or remove it"
            )
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
    corpus = {document: text for document, text in corpus.items() if text}
    return RetrievalTask(corpus, {query: queries[query] for query in qrels}, qrels)


def evaluate_retrieval(
    encoder: Encodes, folder: str | Path, split: str = "test", depth: int = 100
) -> RankingResult:
    """Measures of a model's ranking by cosine, every text encoded once.

    A document whose id is that of the query stays, where BEIR drops it: ids of both may be numbers that mean nothing.

    Args:
        encoder: Anything with `encode`.
        folder: In the layout of BEIR, see `load_beir`.
        split: Name of the judgements.
        depth: Documents ranked for each query, at least the largest k of the measures.

    Raises:
        UserError: As `load_beir`, or if a vector is not finite.
    """
    task = load_beir(folder, split)
    documents, queries = list(task.corpus), list(task.queries)
    rows = _vectors(encoder, list(task.corpus.values()))
    hits = search(_vectors(encoder, list(task.queries.values())), rows, depth)
    runs = {
        query: {documents[place]: score for place, score in zip(places, scores, strict=True)}
        for query, places, scores in zip(
            queries, hits.rows.tolist(), hits.scores.tolist(), strict=True
        )
    }
    return rank_measures(task.qrels, runs)


def _vectors(encoder: Encodes, texts: list[str]) -> Tensor:
    return unit(torch.from_numpy(np.asarray(encoder.encode(texts), np.float32)))


def _texts(path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for number, line in _lines(path):
        row = _row(path, number, line)
        key, text = row["_id"], f"{row.get('title') or ''} {row.get('text') or ''}".strip()
        if key in texts:
            raise UserError(f"{path}:{number}: the id {key!r} comes twice")
        texts[key] = text
    return texts


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
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
