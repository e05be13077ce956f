"""Appending rows to the folder of an index; see `textcl.retrieval.store` for its files."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import Float
from torch import Tensor

from textcl.data.roles import text_group
from textcl.retrieval.documents import Document, extended, key_of
from textcl.retrieval.store import Manifest


class Writer:
    """Appends rows behind those that count; `commit` makes them count.

    Args:
        folder: Of the index; what lies behind the rows that count is cut off.
        manifest: Of the folder.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self._files = ExitStack()
        sizes = manifest.sizes()
        self._file = {name: self._files.enter_context((folder / name).open("ab")) for name in sizes}
        for name, size in sizes.items():
            self._file[name].truncate(size)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.close()

    def append(
        self, documents: Sequence[Document], vectors: Float[np.ndarray, "N D"], codes: Tensor | None
    ) -> None:
        """Write rows that do not count yet."""
        lines = [
            json.dumps([document.id, document.text]).encode() + b"\n" for document in documents
        ]
        ends = self.manifest.text_bytes + np.cumsum([len(line) for line in lines])
        arrays = {
            "vectors": vectors.astype(self.manifest.vector_type),
            "offsets": ends.astype("<i8"),
            "keys": np.array([key_of(document.id) for document in documents], "<i8"),
            "groups": np.array([text_group(document.text) for document in documents], "<i8"),
        }
        if codes is not None:
            arrays["codes"] = codes.numpy()
        for name, values in arrays.items():
            self._file[name].write(np.ascontiguousarray(values).data)
        self._file["rows.jsonl"].writelines(lines)
        self.manifest = replace(
            self.manifest,
            rows=self.manifest.rows + len(documents),
            text_bytes=int(ends[-1]),
            digest=extended(self.manifest.digest, documents),
        )

    def flush(self) -> None:
        """Hand what was written to the disk."""
        for file in self._file.values():
            file.flush()
            os.fsync(file.fileno())

    def commit(self, manifest: Manifest) -> None:
        """Make what was written count."""
        self.flush()
        self.manifest = manifest
        manifest.write(self.folder)
