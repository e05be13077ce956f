"""Dev score of a retriever, which selects its weights: nDCG@10 on a BEIR folder or on held-out pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from textcl.arithmetic import unit
from textcl.data.rows import Rows
from textcl.data.splits import normalised
from textcl.encoder.encoder import Encoder
from textcl.encoder.peers import Role, role_prompt
from textcl.encoder.shared import SharedEncoder
from textcl.errors import UserError
from textcl.evaluation.ranking import rank_rows
from textcl.retrieval.beir import load_beir, own_places
from textcl.retrieval.search import search

MOST_PASSAGES = 5_000
"""Passages that held-out pairs are ranked among, at most."""

DEPTH = 10


@dataclass(frozen=True)
class DevRetrieval:
    """Judged queries that select weights.

    Args:
        name: What a reader calls them.
        corpus: Passages by id.
        queries: Queries by id.
        qrels: Grades by query and passage.
        note: What a reader must know about the data.
    """

    name: str
    corpus: Mapping[str, str]
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    note: str = ""

    @property
    def protocol(self) -> str:
        """Protocol of the score."""
        return f"{self.name}, nDCG@{DEPTH} × 100 by the model's similarity, float32"

    @property
    def size(self) -> str:
        """Size of the data, in words."""
        return f"{len(self.queries):,} queries, {len(self.corpus):,} passages"

    @property
    def texts(self) -> Sequence[str]:
        """Queries and passages."""
        return [*self.queries.values(), *self.corpus.values()]

    def __call__(self, model: Encoder | SharedEncoder) -> float:
        """The score × 100, each text encoded once, with the prompt of its role."""
        own = own_places(self.queries, self.corpus, self.qrels)
        hits = search(
            _vectors(model, list(self.queries.values()), "query"),
            _vectors(model, list(self.corpus.values()), "document"),
            DEPTH + (own is not None),
        )
        judged = {query: self.qrels[query] for query in self.queries}
        rows, scores = hits.rows.numpy(), hits.scores.numpy()
        result = rank_rows(
            judged, list(self.corpus), rows, scores, cuts=(DEPTH,), depth=DEPTH, own=own
        )
        return 100 * result.mean[f"ndcg@{DEPTH}"]


def _vectors(model: Encoder | SharedEncoder, texts: list[str], role: Role) -> Tensor:
    rows = model.encode(texts, prompt=role_prompt(model.prompts, role), precision="float32")
    vectors = torch.from_numpy(np.asarray(rows, np.float32))
    return vectors if model.similarity_name == "dot" else unit(vectors)


def is_beir(dev: str) -> bool:
    """Whether this is a folder in the layout of BEIR."""
    return (Path(dev) / "corpus.jsonl").is_file()


def dev_of_folder(folder: str) -> DevRetrieval:
    """The judgements "dev" of a folder, or the only ones that it has.

    Raises:
        UserError: As `load_beir`, or if it has several judgements and none for dev.
    """
    names = sorted(path.stem for path in (Path(folder) / "qrels").glob("*.tsv"))
    wanted = [name for name in ("dev", "validation") if name in names] or names
    if len(wanted) > 1 and wanted[0] not in ("dev", "validation"):
        raise UserError(
            f"{folder} has the judgements {', '.join(names)}: name those that select the weights dev.tsv"
        )
    split = next(iter(wanted), "dev")
    task = load_beir(folder, split)
    note = "" if split != "test" else "These are test judgements: a score on them is no test score."
    return DevRetrieval(
        f"{Path(folder).name}, {split}", task.corpus, task.queries, task.qrels, note
    )


def dev_of_pairs(held: Rows, kept: Rows, name: str, seed: int) -> DevRetrieval:
    """Held-out pairs, whose anchors look for their positives among those of all pairs.

    Args:
        held: Rows that are held out.
        kept: Rows that are trained on; their positives are passages, too, `MOST_PASSAGES` in all.
        name: What a reader calls the held-out rows.
        seed: Draws the passages where there are more.
    """
    queries: dict[str, str] = {}
    relevant: dict[str, dict[str, int]] = {}
    corpus: dict[str, str] = {}
    for row in held[range(len(held))]:
        query = normalised(row["anchor"])
        queries.setdefault(query, row["anchor"])
        for text in positives_of(row):
            corpus.setdefault(normalised(text), text)
            relevant.setdefault(query, {})[normalised(text)] = 1
    room = max(0, MOST_PASSAGES - len(corpus))
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(kept))
    for start in range(0, len(order), 1000):
        if room <= 0:
            break
        for row in kept[order[start : start + 1000].tolist()]:
            for text in positives_of(row)[: max(0, room)]:
                room -= normalised(text) not in corpus
                corpus.setdefault(normalised(text), text)
    return DevRetrieval(name, corpus, queries, relevant)


def positives_of(row: Mapping[str, str | list[str]]) -> list[str]:
    """The positives of a row, one or several."""
    value = row["positives"] if "positives" in row else row["positive"]
    return [value] if isinstance(value, str) else value
