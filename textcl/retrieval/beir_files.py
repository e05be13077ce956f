"""Files of a corpus in the layout of BEIR: texts by id, and judgements."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from textcl.errors import UserError


def read_judgements(
    path: Path, corpus: dict[str, str], queries: dict[str, str]
) -> dict[str, dict[str, int]]:
    """Grades by query and document of a TSV file with a header.

    Args:
        path: The file.
        corpus: Documents that it may name.
        queries: Queries that it may name.

    Raises:
        UserError: If a line is malformed or names another text, or a query has no relevant document.
    """
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


def read_texts(path: Path) -> dict[str, str]:
    """Texts by id of a JSON lines file, each behind its title.

    Raises:
        UserError: If there is no such file, a line is malformed, or an id occurs twice.
    """
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
