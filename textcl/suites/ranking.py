"""A corpus in the layout of BEIR as a task: how well a model, or BM25, ranks it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from textcl.arithmetic import unit
from textcl.errors import UserError
from textcl.evaluation.ranking import rank_rows
from textcl.evaluation.resampling import Mean
from textcl.retrieval.beir import RetrievalTask, load_beir
from textcl.retrieval.search import search
from textcl.suites.manifests import SuiteManifest
from textcl.suites.suite import Role, TaskResult, Vectors

DEPTH = 1000
"""Documents ranked for each query, as in trec_eval and BEIR."""

CUTS = (1, 3, 5, 10, 20, 100, 1000)
HEADLINE = ("ndcg@10", "map", "mrr", "recall@100", "precision@10")
K1, B = 1.5, 0.75


@dataclass(frozen=True)
class Ranking:
    """Documents ranked by cosine for every judged query.

    Args:
        name: Name in the scores.
        label: Short name for the head of a table.
        protocol: Key of what may be compared.
        place: The folder.
        split: Name of its judgements.
        source: The copy that is read.
        note: What a reader should know about the data.
    """

    name: str
    label: str
    protocol: str
    place: Path
    split: str
    source: str
    note: str = ""

    @classmethod
    def of_manifest(cls, manifest: SuiteManifest) -> Ranking:
        """The task of a manifest whose parts are corpus, queries and qrels."""
        corpus, _, qrels = (manifest.file(part) for part in ("corpus", "queries", "qrels"))
        return cls(
            manifest.name, manifest.label, manifest.protocol, corpus.parent, qrels.stem,
            manifest.source(), manifest.note,
        )  # fmt: skip

    @classmethod
    def of_folder(cls, folder: str | Path, split: str = "test") -> Ranking:
        """A folder of your own; it is read at once.

        Raises:
            UserError: If something is wrong in it.
        """
        place = Path(folder)
        task = cls(
            place.resolve().name, place.resolve().name, "own-corpus", place, split, str(folder)
        )
        _ = task.data
        return task

    @cached_property
    def data(self) -> RetrievalTask:
        """Texts and judgements."""
        return load_beir(self.place, self.split)

    def texts(self) -> Mapping[Role, Sequence[str]]:
        """Queries and documents."""
        return {
            Role.query: list(self.data.queries.values()),
            Role.document: list(self.data.corpus.values()),
        }

    def score(self, vectors: Vectors) -> TaskResult:
        """Measures of the ranking by cosine."""
        sides = [torch.from_numpy(vectors(texts, role)) for role, texts in self.texts().items()]
        hits = search(unit(sides[0]), unit(sides[1]), DEPTH)
        return self._measured(hits.rows.numpy(), hits.scores.numpy(), "cosine")

    def score_bm25(self) -> TaskResult:
        """Measures of BM25 over lower-case words without stop words.

        Raises:
            UserError: If bm25s is not installed.

        Source: Robertson & Zaragoza 2009, https://doi.org/10.1561/1500000019; Lù 2024, https://arxiv.org/abs/2407.03618
        """
        if not bm25_installed():
            raise UserError("BM25 needs bm25s: install textcl-train[bm25]")
        import bm25s

        words = partial(bm25s.tokenize, stopwords="en", show_progress=False)
        queries, documents = self.data.queries, self.data.corpus
        index = bm25s.BM25(k1=K1, b=B, method="lucene")
        index.index(words(list(documents.values())), show_progress=False)
        tokens = words(list(queries.values()))
        places, scores = index.retrieve(tokens, k=min(DEPTH, len(documents)), show_progress=False)
        ranked_by = f"BM25 (lucene, k1={K1}, b={B}, bm25s {bm25s.__version__})"
        return self._measured(np.asarray(places, np.int64), np.asarray(scores), ranked_by)

    def _measured(
        self, rows: Int[np.ndarray, "Q k"], scores: Float[np.ndarray, "Q k"], ranked_by: str
    ) -> TaskResult:
        result = rank_rows(self.data.qrels, list(self.data.corpus), rows, scores, CUTS)
        judgements = sum(map(len, self.data.qrels.values()))
        return TaskResult(
            self.name,
            self.label,
            self.protocol,
            f"{self.protocol}: ranked by {ranked_by}, {min(DEPTH, len(self.data.corpus)):,} documents a query; "
            "measures as trec_eval's (ties by id, linear gain, all judged queries), x100",
            {name: 100 * value for name, value in result.mean.items()},
            HEADLINE,
            "queries",
            {name: Mean(np.array(result.values(name))) for name in HEADLINE},
            self.source,
            self.note,
            {"documents": len(self.data.corpus), "judgements": judgements},
        )


def bm25_installed() -> bool:
    """Whether bm25s can be imported."""
    return importlib.util.find_spec("bm25s") is not None
