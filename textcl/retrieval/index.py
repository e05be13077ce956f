"""An index: documents and their vectors in a folder, searched by text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from textcl.data.arguments import checked_arguments
from textcl.data.files import atomic_write, full_disk_named
from textcl.data.lock import sole_writer
from textcl.data.texts import as_texts
from textcl.errors import UserError
from textcl.export.load import load_encoder
from textcl.retrieval.build import (
    Source,
    Tools,
    append_documents,
    build_folder,
    encode_codes,
    new_manifest,
    read_ranges,
    require_place,
    save_graph,
)
from textcl.retrieval.documents import documents_of, require_space, survey, with_text
from textcl.retrieval.hnsw import Graph
from textcl.retrieval.models import Embeds, check_model, embed
from textcl.retrieval.quantization import nearest_bits, to_bits
from textcl.retrieval.search import Hits, padded, rescored, search
from textcl.retrieval.search_hits import SearchHit, documents_of_hits, documents_of_pairs
from textcl.retrieval.store import Dtype, Kind, Manifest, StoredRows
from textcl.retrieval.writer import Writer

RESCORED = 4
"""Times k that a coarse search keeps for scoring again."""


class Index:
    """Documents to search; `build` makes one, `load` opens it.

    Several processes may read a folder while one adds or removes rows.

    Args:
        folder: What `build` wrote.
        manifest: Of the folder.
        model: Encodes queries and new documents; loaded by its name in the manifest when None.

    Raises:
        UserError: If the folder is damaged, or the model is not the one that the index was built with.
    """

    def __init__(self, folder: Path, manifest: Manifest, model: Embeds | None = None) -> None:
        self.folder = folder
        self._open(manifest)
        if model is not None:
            self.use(model)

    @classmethod
    @checked_arguments
    def build(
        cls,
        model: Embeds,
        corpus: object,
        folder: str | Path,
        *,
        name: str = "",
        dtype: Dtype = "float32",
        kind: Kind = "exact",
        columns: Mapping[str, str] | None = None,
        split: str | None = None,
        overwrite: bool = False,
        tools: Tools | None = None,
    ) -> Index:
        """Encode a corpus into a folder, which appears when it is complete.

        A build that was killed goes on where it stopped when it is started again; documents without a text are left
        out.

        Args:
            model: An `Encoder` or `ExportedEncoder`; its prompt "document" goes before the documents.
            corpus: A file, a folder, a hub data set, a list or a table; see `documents_of` for ids and titles.
            folder: To be made.
            name: By which the model can be loaded again, kept in the manifest.
            dtype: What is searched: "float32", "float16", or the smaller "int8" and "binary", whose best rows are
                scored again with float32 vectors that stay on disk.
            kind: "exact", or "hnsw" for a graph that is fast and misses some (needs the extra `hnsw`).
            columns: Columns of the roles text and id, where they have other names.
            split: Part of a hub data set or of a folder.
            overwrite: Whether an index that is there may be replaced.
            tools: How documents are encoded and progress is shown.

        Raises:
            UserError: If the corpus is wrong, the disk too small, or the folder exists.
            RunError: If the disk fills up all the same, or a vector is not finite.
        """
        place = Path(folder)
        require_place(place, kind, overwrite)
        documents = documents_of(corpus, columns=columns, split=split)
        source = Source(documents, survey(documents, _name(corpus)))
        manifest = new_manifest(model, name, dtype, kind)
        build_folder(place, source, model, manifest, tools or Tools())
        return cls(place, Manifest.read(place), model)

    @classmethod
    @checked_arguments
    def load(cls, folder: str | Path, model: Embeds | None = None) -> Index:
        """Open a folder.

        Args:
            folder: What `build` wrote.
            model: The one that the index was built with; loaded by its name when it is needed if None.

        Raises:
            UserError: If the folder is no index or damaged, or the model is another.
        """
        return cls(Path(folder), Manifest.read(Path(folder)), model)

    def __len__(self) -> int:
        return self.manifest.rows - int(self._removed.sum())

    def use(self, model: Embeds) -> None:
        """Encode with `model` from now on.

        Raises:
            UserError: If the index was not built with it.
        """
        check_model(model, self.manifest, self.folder)
        self.__dict__["model"] = model

    @cached_property
    def model(self) -> Embeds:
        """Encoder of queries and new documents.

        Raises:
            UserError: If it cannot be loaded by its name, or is not the one that the index was built with.
        """
        name = self.manifest.model
        if not name:
            raise UserError(f"{self.folder} does not name its model: name it with -m")
        model: Embeds = load_encoder(name)
        check_model(model, self.manifest, self.folder)
        return model

    @overload
    def search(  # pyright: ignore[reportOverlappingOverload]  # a text is an iterable of texts
        self, queries: str, k: int = 10, *, threshold: float | None = None
    ) -> list[SearchHit]: ...

    @overload
    def search(
        self, queries: Iterable[str], k: int = 10, *, threshold: float | None = None
    ) -> list[list[SearchHit]]: ...

    @checked_arguments
    def search(
        self, queries: Iterable[str], k: int = 10, *, threshold: float | None = None
    ) -> list[SearchHit] | list[list[SearchHit]]:
        """The best documents for every query, best first; of one query, its documents.

        Args:
            queries: Texts, or one text; the model's prompt "query" goes before them.
            k: How many at most.
            threshold: Leave out documents of a lower score; None leaves none out.

        Raises:
            UserError: If a query is empty, k is below 1, or the model is another than the index was built with.
        """
        if isinstance(queries, str):
            return self.search([queries], k, threshold=threshold)[0]
        texts = list(as_texts(queries))
        for number, query in enumerate(texts, 1):
            if not query.strip():
                raise UserError(f"query {number} is empty: a search takes texts")
        vectors = torch.from_numpy(embed(self.model, texts, "query", self.manifest.similarity))
        return documents_of_hits(self.rows, self.nearest(vectors, k), threshold)

    @checked_arguments
    def neighbours(
        self, ids: Iterable[str], k: int = 10, *, threshold: float | None = None
    ) -> list[list[SearchHit]]:
        """The best documents for each of some documents of the index, itself left out; needs no model.

        Args:
            ids: Of documents.
            k: How many at most.
            threshold: Leave out documents of a lower score; None leaves none out.

        Raises:
            UserError: If the index has no such document.
        """
        own = self.rows.find(list(as_texts(ids)))
        hits = self.nearest(self.rows.vectors[own].float(), k + 1)
        others = [
            [(row, score) for row, score in zip(rows, scores, strict=True) if row != self_row][:k]
            for self_row, rows, scores in zip(
                own, hits.rows.tolist(), hits.scores.tolist(), strict=True
            )
        ]
        return [documents_of_pairs(self.rows, pairs, threshold) for pairs in others]

    def nearest(self, vectors: Float[Tensor, "Q D"], k: int) -> Hits:
        """The rows of the largest dot product with some vectors; fewer than k where the index has no more."""
        if k < 1:
            raise UserError(f"a search gives at least 1 document a query, got {k}")
        k = min(k, len(self))
        stored, removed = self.rows.vectors, self._removed if self._removed.any() else None
        if self._graph is not None:
            near = self._graph.search(vectors, min(RESCORED * k, len(self)))
            return padded(
                [
                    rescored(query[None], Hits(rows[None], torch.zeros(1, len(rows))), stored, k)
                    for query, rows in zip(vectors, near, strict=True)
                ]
            )
        wide = min(RESCORED * k, len(self))
        if self.manifest.dtype == "int8":
            scaled = vectors * read_ranges(self.folder).step
            coarse = search(scaled, self.rows.codes, wide, Tensor.float, removed=removed)
        elif self.manifest.dtype == "binary":
            bits = to_bits(vectors)
            coarse = nearest_bits(bits, self.rows.codes, wide, vectors.shape[1], removed)
        else:
            return search(vectors, stored, k, removed=removed)
        return rescored(vectors, coarse, stored, k)

    @checked_arguments
    def add(
        self,
        corpus: object,
        *,
        columns: Mapping[str, str] | None = None,
        split: str | None = None,
        tools: Tools | None = None,
    ) -> int:
        """Add documents, all or none; how many there were.

        Args:
            corpus: As for `build`.
            columns: As for `build`.
            split: As for `build`.
            tools: As for `build`.

        Raises:
            UserError: If an id is in the index already, the corpus is wrong, or another process writes the folder.
            RunError: If the disk fills up, or a vector is not finite.
        """
        documents = documents_of(corpus, columns=columns, split=split)
        about = survey(documents, _name(corpus))
        tools = tools or Tools()
        with (
            full_disk_named(f"the index {self.folder} is as it was"),
            sole_writer(self.folder / ".lock", f"the index {self.folder}"),
        ):
            self._open(Manifest.read(self.folder))
            self._refuse_known(document.id for document in with_text(documents()))
            require_space(self.folder, about.rows * self.manifest.row_bytes + about.text_bytes)
            old, model = self.manifest, self.model
            with Writer(self.folder, old) as writer:
                codes = encode_codes(old, self.folder)
                append_documents(writer, with_text(documents()), model, tools, codes)
                manifest = writer.manifest
                if old.graph is not None:
                    graph = self._graph_to_change()
                    writer.flush()
                    graph.add(old.rows, StoredRows(self.folder, manifest).vectors[old.rows :])
                    manifest = save_graph(self.folder, manifest, graph)
                writer.commit(manifest)
            self._replace(old, manifest)
        return about.rows

    @checked_arguments
    def remove(self, ids: Iterable[str]) -> int:
        """Take documents out, all or none; how many there were.

        Their rows stay on disk, found by no search.

        Args:
            ids: Of documents.

        Raises:
            UserError: If the index has no such document, none would be left, or another process writes the folder.
        """
        names = list(as_texts(ids))
        with sole_writer(self.folder / ".lock", f"the index {self.folder}"):
            old = Manifest.read(self.folder)
            self._open(old)
            rows = np.unique(np.array(self.rows.find(names), np.int64))
            if len(rows) == len(self):
                raise UserError(f"{self.folder} would be empty: delete the folder instead")
            gone = np.union1d(self.rows.removed(), rows)
            manifest = replace(old, removed=f"removed-{len(gone)}")
            with atomic_write(self.folder / str(manifest.removed)) as file:
                file.write(gone.astype("<i8").tobytes())
            if old.graph is not None:
                graph = self._graph_to_change()
                graph.remove(rows.tolist())
                manifest = save_graph(self.folder, manifest, graph)
            manifest.write(self.folder)
            self._replace(old, manifest)
        return len(rows)

    def _open(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.rows = StoredRows(self.folder, manifest)
        removed = torch.zeros(manifest.rows, dtype=torch.bool)
        removed[torch.from_numpy(self.rows.removed())] = True
        self._removed: Bool[Tensor, " N"] = removed
        self._graph = (
            Graph.load(self.folder / manifest.graph, manifest.dimension) if manifest.graph else None
        )

    def _graph_to_change(self) -> Graph:
        path = self.folder / str(self.manifest.graph)
        return Graph.load(path, self.manifest.dimension, change=True)

    def _replace(self, old: Manifest, new: Manifest) -> None:
        """Open what was written, and remove the files that it took the place of."""
        self._open(new)
        for before, now in ((old.removed, new.removed), (old.graph, new.graph)):
            if before is not None and before != now:
                (self.folder / before).unlink(missing_ok=True)

    def _refuse_known(self, ids: Iterable[str]) -> None:
        known = self.rows.known(ids)
        if known is not None:
            raise UserError(f"{self.folder} has the id {known!r} already: remove it first")


def _name(corpus: object) -> str:
    return str(corpus) if isinstance(corpus, str | Path) else "the corpus"
