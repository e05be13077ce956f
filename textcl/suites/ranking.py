"""Ranking a corpus in the layout of BEIR: a task for a model, or for BM25."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from textcl.arithmetic import unit
from textcl.errors import UserError
from textcl.evaluation.ranking import rank_rows
from textcl.evaluation.resampling import Mean
from textcl.retrieval.beir import EmptyPassages, RetrievalTask, load_beir, own_places
from textcl.retrieval.search import search
from textcl.suites.bm25 import rank_bm25
from textcl.suites.manifests import SuiteManifest
from textcl.suites.suite import Role, TaskResult, Vectors

DEPTH = 1000
"""Documents ranked for each query, as in trec_eval and BEIR."""

_RANKED_BY = {"cosine": "cosine", "dot": "dot product"}

CUTS = (1, 3, 5, 10, 20, 100, 1000)
HEADLINE = ("ndcg@10", "map", "mrr", "recall@100", "precision@10")


@dataclass(frozen=True)
class Ranking:
    """Documents ranked for every judged query, by the cosine or dot product, as the model compares.

    Args:
        name: Name in the scores.
        label: Short name for the head of a table.
        protocol: Key of what may be compared.
        place: The folder.
        split: Name of its judgements.
        source: The copy that is read.
        note: What a reader should know about the data.
        empty: What becomes of judged passages without a text, see `load_beir`.
    """

    name: str
    label: str
    protocol: str
    place: Path
    split: str
    source: str
    note: str = ""
    empty: EmptyPassages = "last"

    @classmethod
    def of_manifest(cls, manifest: SuiteManifest) -> Ranking:
        """The task of a manifest whose parts are corpus, queries and qrels."""
        corpus, _, qrels = (manifest.file(part) for part in ("corpus", "queries", "qrels"))
        return cls(
            manifest.name, manifest.label, manifest.protocol, corpus.parent, qrels.stem,
            manifest.source(), manifest.note,
        )  # fmt: skip

    @classmethod
    def of_folder(
        cls, folder: str | Path, split: str = "test", empty: EmptyPassages = "last"
    ) -> Ranking:
        """A folder of your own; it is read at once.

        A query that is a document of the corpus itself, with its id and its text, is not ranked for itself.

        Args:
            folder: In the layout of BEIR, see `load_beir`.
            split: Name of its judgements.
            empty: What becomes of judged passages without a text, see `load_beir`.

        Raises:
            UserError: If something is wrong in it.
        """
        name = Path(folder).resolve().name
        task = cls(name, name, "own-corpus", Path(folder), split, str(folder), empty=empty)
        _ = task.data
        return task

    @cached_property
    def data(self) -> RetrievalTask:
        """Texts and judgements."""
        return load_beir(self.place, self.split, self.empty)

    @cached_property
    def _own(self) -> Int[np.ndarray, " Q"] | None:
        return own_places(self.data.queries, self.data.corpus, self.data.qrels)

    @property
    def _depth(self) -> int:
        return DEPTH + (self._own is not None)

    def texts(self) -> Mapping[Role, Sequence[str]]:
        """Queries and documents."""
        return {
            Role.query: list(self.data.queries.values()),
            Role.document: list(self.data.corpus.values()),
        }

    def score(self, vectors: Vectors) -> TaskResult:
        """Measures of the ranking by the model's similarity.

        Raises:
            UserError: If it is a distance.
        """
        if vectors.similarity not in _RANKED_BY:
            raise UserError(
                f"{self.name}: the model compares by {vectors.similarity}, and documents are ranked by cosine or dot "
                "product: set similarity_name of the model"
            )
        sides = [torch.from_numpy(vectors(texts, role)) for role, texts in self.texts().items()]
        if vectors.similarity == "cosine":
            sides = [unit(rows) for rows in sides]
        queries, documents = sides
        hits = search(queries, documents, self._depth)
        return self._measured(
            hits.rows.numpy(), hits.scores.numpy(), _RANKED_BY[vectors.similarity]
        )

    def score_bm25(self) -> TaskResult:
        """Measures of the ranking by BM25.

        Raises:
            UserError: If bm25s is not installed.
        """
        places, scores, name = rank_bm25(self.data.queries, self.data.corpus, self._depth)
        return self._measured(places, scores, name)

    def _measured(
        self, rows: Int[np.ndarray, "Q k"], scores: Float[np.ndarray, "Q k"], ranked_by: str
    ) -> TaskResult:
        corpus = list(self.data.corpus)
        result = rank_rows(self.data.qrels, corpus, rows, scores, CUTS, depth=DEPTH, own=self._own)
        judgements = sum(map(len, self.data.qrels.values()))
        own = 0 if self._own is None else int((self._own >= 0).sum())
        left_out = (
            f"; queries that are documents themselves, left out of their own lists: {own:,}"
            * bool(own)
        )
        return TaskResult(
            self.name,
            self.label,
            self.protocol,
            f"{self.protocol}: ranked by {ranked_by}, {min(DEPTH, len(corpus)):,} documents a query; "
            f"measures as trec_eval's (ties by id, linear gain, all judged queries), x100{left_out}",
            {name: 100 * value for name, value in result.mean.items()},
            HEADLINE,
            "queries",
            {name: Mean(np.array(result.values(name))) for name in HEADLINE},
            self.source,
            self.note,
            {"documents": len(corpus), "judgements": judgements},
        )
