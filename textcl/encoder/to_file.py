"""Rows in, a file of vectors out: block by block, in the given order, in flat memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypedDict, Unpack, runtime_checkable

import numpy as np
import pyarrow
from jaxtyping import Float

from textcl.data.lock import sole_writer_of
from textcl.data.stream import StreamedRow, row_blocks
from textcl.data.summary import WriteSummary
from textcl.data.vectors import VectorType, open_vectors
from textcl.errors import UserError
from textcl.heap import return_freed_memory


@runtime_checkable
class CountsCut(Protocol):
    """Texts to tokens."""

    def count_cut(self, texts: Sequence[str]) -> int:
        """The number of texts that have more tokens than a row."""
        ...


@runtime_checkable
class EncodesFiles(Protocol):
    """An encoder whose vectors can be written: `Encoder`, `ExportedEncoder`."""

    @property
    def dimension(self) -> int:
        """Length of a whole vector."""
        ...

    max_length: int
    truncate_dim: int | None

    def reader(self, *, prompt: str | None = ..., prompt_text: str | None = ...) -> CountsCut:
        """Texts to tokens as `encode` makes them."""
        ...

    def encode(
        self,
        texts: Iterable[str],
        *,
        batch_tokens: int | None = ...,
        prompt: str | None = ...,
        prompt_text: str | None = ...,
        normalize: bool | None = ...,
        truncate_dim: int | None = ...,
        precision: str | None = ...,
        dtype: str = ...,
    ) -> Float[np.ndarray, "N _"]:
        """Vectors of texts."""
        ...


class EncodeOptions(TypedDict, total=False):
    """Further arguments of `encode`."""

    batch_tokens: int | None
    normalize: bool | None
    precision: str | None


def encode_rows(
    encoder: EncodesFiles,
    rows: Iterable[StreamedRow],
    target: str | Path,
    *,
    schema: pyarrow.Schema | None = None,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda rows: None,
    prompt: str | None = None,
    prompt_text: str | None = None,
    truncate_dim: int | None = None,
    dtype: VectorType = "float32",
    **options: Unpack[EncodeOptions],
) -> WriteSummary:
    """Write the vector of every row; row i of the output belongs to row i of the input.

    Args:
        encoder: Makes the vectors.
        rows: What `stream_rows` gives.
        target: A file ending in .npy, .parquet, .safetensors or .jsonl, or "-" for JSON lines on standard output.
        schema: Types of the columns, for parquet.
        overwrite: Whether the file may be there already.
        progress: Called after every block with its number of rows.
        prompt: As for `encoder.encode`.
        prompt_text: As for `encoder.encode`.
        truncate_dim: Keep only the first so many dimensions.
        dtype: Type of the numbers.
        options: Further arguments of `encoder.encode`.

    Raises:
        UserError: If a row is wrong, the model has no such prompt, or the output cannot be made.
        RunError: If the disk fills up, or a vector is not finite.
    """
    if truncate_dim is not None and not 1 <= truncate_dim <= encoder.dimension:
        raise UserError(
            f"expected 1 to {encoder.dimension} dimensions, as many as the model has, got {truncate_dim}"
        )
    reader = encoder.reader(prompt=prompt, prompt_text=prompt_text)
    dimension = truncate_dim or encoder.truncate_dim or encoder.dimension
    summary = WriteSummary(
        str(target), encoder.max_length, "sentences", f" of {dimension} dimensions"
    )
    start = time.perf_counter()
    with (
        sole_writer_of(target),
        open_vectors(target, dimension, dtype=dtype, schema=schema, overwrite=overwrite) as write,
    ):
        for block in row_blocks(rows):
            texts = [row.text for row in block]
            vectors = encoder.encode(
                texts,
                prompt=prompt,
                prompt_text=prompt_text,
                truncate_dim=truncate_dim,
                dtype=dtype,
                **options,
            )
            write(vectors, [row.values for row in block])
            summary.rows += len(texts)
            summary.blank += sum(not text.strip() for text in texts)
            summary.truncated += reader.count_cut(texts)
            progress(len(texts))
            return_freed_memory()  # blocks differ in size, and holes that none fits into would add up
    summary.seconds = time.perf_counter() - start
    return summary
