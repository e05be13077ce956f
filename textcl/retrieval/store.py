"""The folder of an index: files that only grow, and a manifest that says how much of each counts.

| file                | holds                                                                                   |
| ------------------- | --------------------------------------------------------------------------------------- |
| manifest.json       | the model by its hash, its prompts, dtype, dimensions, rows                              |
| vectors             | float32 or float16 (rows, dimensions)                                                   |
| codes               | int8 (rows, dimensions) or bits (rows, ⌈dimensions / 8⌉); only of an index of that dtype |
| calibration.json    | smallest and largest value of every dimension, for int8                                 |
| rows.jsonl          | id and text of every row                                                                |
| offsets, keys, groups | int64: where a row of rows.jsonl ends, digests of its id and its text                  |
| removed-N           | int64: rows that no longer count                                                        |
| graph-N             | the HNSW graph of usearch                                                               |

Numbers are little-endian without a header. What was written after the manifest does not count and is cut off by the
next writer, so a process may die at any moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from textcl.data.files import write_json
from textcl.data.json_files import parse, read_as
from textcl.errors import UserError
from textcl.retrieval.documents import START, Document, key_of

Dtype = Literal["float32", "float16", "int8", "binary"]
"""Searched numbers; int8 and binary indexes also keep the vectors in float32, which score the best again."""

Kind = Literal["exact", "hnsw"]
"""Search method."""

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """Description of the content of an index.

    Args:
        model: Its name, as the builder gave it.
        model_sha256: Its `model_hash`.
        query_prompt: What the model puts before queries.
        document_prompt: What it puts before documents.
        similarity: "cosine", for which vectors have length 1, or "dot".
        dtype: What is searched.
        kind: How.
        dimension: Numbers of a vector.
        rows: Documents, those removed among them.
        text_bytes: Of rows.jsonl that count.
        digest: Of all ids and texts.
        removed: File of the rows that no longer count; None for none.
        graph: File of the HNSW graph; None for none.
        graph_bytes: Its size.
        complete: Whether the build has ended.
        version: Of this layout.
    """

    model: str
    model_sha256: str
    query_prompt: str
    document_prompt: str
    similarity: Literal["cosine", "dot"]
    dtype: Dtype
    kind: Kind
    dimension: int
    rows: int = 0
    text_bytes: int = 0
    digest: str = START
    removed: str | None = None
    graph: str | None = None
    graph_bytes: int = 0
    complete: bool = False
    version: int = 1

    def __post_init__(self) -> None:
        if self.dtype not in get_args(Dtype) or self.kind not in get_args(Kind):
            raise UserError(
                f"an index is of dtype {', '.join(get_args(Dtype))} and kind {' or '.join(get_args(Kind))}, "
                f"got {self.dtype!r} and {self.kind!r}"
            )

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a folder.

        Raises:
            UserError: If the folder is no index, or its manifest is damaged or of a later version.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise UserError(f"{folder} is no index: {MANIFEST} is missing; textcl index makes one")
        manifest = read_as(path, cls)
        if manifest.version != 1:
            raise UserError(
                f"{folder} was made by a later version of textcl (layout {manifest.version}): update textcl"
            )
        for name in (manifest.removed, manifest.graph):
            if name is not None and Path(name).name != name:
                raise UserError(f"{path} points outside of its folder: {name!r:.80}")
        if manifest.rows < 0 or manifest.dimension < 1:
            raise UserError(
                f"{path}: {manifest.rows} rows of {manifest.dimension} dimensions are no index"
            )
        return manifest

    def write(self, folder: Path) -> None:
        """Write it: from now on these rows count."""
        write_json(folder / MANIFEST, asdict(self))

    def as_begun(self) -> Manifest:
        """The manifest without what changes while a folder is built."""
        return replace(
            self,
            model="",
            rows=0,
            text_bytes=0,
            digest=START,
            graph=None,
            graph_bytes=0,
            complete=False,
        )

    @property
    def vector_type(self) -> np.dtype[np.floating]:
        """Type of the stored vectors."""
        return np.dtype("<f2" if self.dtype == "float16" else "<f4")

    @property
    def code_width(self) -> int:
        """Bytes of the codes of a row; 0 without codes."""
        if self.dtype == "int8":
            return self.dimension
        return (self.dimension + 7) // 8 if self.dtype == "binary" else 0

    @property
    def row_bytes(self) -> int:
        """Bytes of a row on disk, without its id and text."""
        graph = 2 * self.dimension + 300 if self.kind == "hnsw" else 0
        return self.dimension * self.vector_type.itemsize + self.code_width + 3 * 8 + graph

    def sizes(self) -> dict[str, int]:
        """Bytes of every file that count."""
        sizes = {
            "vectors": self.rows * self.dimension * self.vector_type.itemsize,
            "rows.jsonl": self.text_bytes,
            **dict.fromkeys(("offsets", "keys", "groups"), 8 * self.rows),
        }
        if self.code_width and self.complete:
            sizes["codes"] = self.rows * self.code_width
        return sizes


class StoredRows:
    """The stored rows of an index, mapped into memory.

    Args:
        folder: Of the index.
        manifest: Of the folder.

    Raises:
        UserError: If a file is shorter than the manifest says.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        graph = {manifest.graph: manifest.graph_bytes} if manifest.graph else {}
        for name, size in (manifest.sizes() | graph).items():
            path = folder / name
            if not path.is_file() or path.stat().st_size < size:
                raise UserError(f"{path} is missing or cut off: build the index again")

    @property
    def vectors(self) -> Tensor:
        """Vectors (rows, dimensions)."""
        return self._map("vectors", self.manifest.vector_type, self.manifest.dimension)

    @property
    def codes(self) -> Tensor:
        """Codes (rows, bytes)."""
        kind = np.dtype(np.int8 if self.manifest.dtype == "int8" else np.uint8)
        return self._map("codes", kind, self.manifest.code_width)

    @property
    def keys(self) -> np.ndarray:
        """Digests of the ids."""
        return self._map("keys", np.dtype("<i8"), 1).numpy()[:, 0]

    @property
    def groups(self) -> np.ndarray:
        """Digests of the texts: equal for equal texts, see `text_group`."""
        return self._map("groups", np.dtype("<i8"), 1).numpy()[:, 0]

    def removed(self) -> np.ndarray:
        """Rows that no longer count, ascending.

        Raises:
            UserError: If their file is damaged.
        """
        if self.manifest.removed is None:
            return np.zeros(0, np.int64)
        path = self.folder / self.manifest.removed
        try:
            rows = np.fromfile(path, "<i8")
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}): restore it") from error
        if len(rows) and not 0 <= rows.min() <= rows.max() < self.manifest.rows:
            raise UserError(f"{path} names rows that the index does not have: restore it")
        return rows

    def check(self) -> None:
        """Refuse texts that do not lie one after another.

        Raises:
            UserError: If they do not.
        """
        ends = self._ends
        if len(ends) and not (
            ends[0] > 0 and (np.diff(ends) > 0).all() and ends[-1] == len(self._lines)
        ):
            raise UserError(f"{self.folder / 'offsets'} is damaged: build the index again")

    def documents(self, rows: Iterable[int]) -> Iterator[Document]:
        """Ids and texts of some rows, in the order given.

        Raises:
            UserError: If one of them is damaged.
        """
        return map(self.document, rows)

    def document(self, row: int) -> Document:
        """Id and text of a row.

        Raises:
            UserError: If it is damaged.
        """
        ends = self._ends
        start, end = int(ends[row - 1]) if row else 0, int(ends[row])
        place = f"{self.folder}: row {row + 1} of rows.jsonl"
        if not 0 <= start < end <= len(self._lines):
            raise UserError(f"{place} lies outside the file: restore rows.jsonl and offsets")
        match parse(self._lines[start:end].tobytes().decode("utf-8", "replace"), place):
            case [str(name), str(text)]:
                return Document(name, text, row)
            case _:
                raise UserError(f"{place} holds something else: restore rows.jsonl")

    @cached_property
    def _ends(self) -> np.ndarray:
        return self._map("offsets", np.dtype("<i8"), 1).numpy()[:, 0]

    @cached_property
    def _lines(self) -> np.ndarray:
        size = self.manifest.text_bytes
        return np.memmap(self.folder / "rows.jsonl", np.uint8, "r", shape=(size,)).view(np.ndarray)

    def find(self, ids: Sequence[str]) -> list[int]:
        """The rows of some ids, of those that count.

        Raises:
            UserError: If the index has no such id.
        """
        keys = self._live_keys()
        order = np.argsort(keys, kind="stable")
        wanted = np.array([key_of(name) for name in ids], np.int64)
        places = np.searchsorted(keys, wanted, sorter=order)
        rows = [int(order[place]) if place < len(order) else -1 for place in places]
        for name, key, row in zip(ids, wanted, rows, strict=True):
            if row < 0 or keys[row] != key:
                raise UserError(f"{self.folder} has no document with the id {name!r}")
        return rows

    def known(self, ids: Iterable[str]) -> str | None:
        """The first of some ids that the index has; None where it has none of them."""
        live = set(self._live_keys().tolist())
        return next((name for name in ids if key_of(name) in live), None)

    def _live_keys(self) -> np.ndarray:
        keys = np.array(self.keys)
        keys[self.removed()] = key_of("")  # no document has an empty id
        return keys

    def _map(self, name: str, kind: np.dtype[np.generic], width: int) -> Tensor:
        shape = (self.manifest.rows, width)
        if not self.manifest.rows:
            return torch.from_numpy(np.zeros(shape, kind))
        # copy on write: torch takes no read-only memory, and nothing here writes
        return torch.from_numpy(np.memmap(self.folder / name, kind, "c", shape=shape))
