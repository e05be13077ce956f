"""Files of vectors, written block by block in flat memory.

| format      | holds                                                                                         |
| ----------- | --------------------------------------------------------------------------------------------- |
| npy         | (N, D); `numpy.load(path, mmap_mode="r")`                                                     |
| safetensors | (N, D) under the name "embeddings"                                                            |
| parquet     | every column of the input and "embedding", a fixed-size list                                  |
| jsonl       | the same, one object per line; the numbers read back as exactly the same                      |

Numbers are float32, or float16 where that is asked for.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, Protocol, runtime_checkable

import numpy as np
import pyarrow
from jaxtyping import Float
from pyarrow import parquet

from textcl.data.files import WritesBytes, atomic_write, output_format
from textcl.data.json_text import to_json_line
from textcl.data.records import Record, RecordColumns
from textcl.errors import RunError, UserError

VECTOR_COLUMN = "embedding"
VECTOR_FORMATS = ("npy", "parquet", "safetensors", "jsonl")
VectorType = Literal["float32", "float16"]
"""Type of the numbers of stored vectors."""
Write = Callable[[Float[np.ndarray, "N D"], Sequence[Record]], None]


def vector_format(target: str | Path, *, overwrite: bool = False) -> str:
    """The format that the name of `target` asks for, once it is sure that it may be written.

    Args:
        target: A file to be, or "-" for JSON lines on standard output.
        overwrite: Whether the file may be there already.

    Raises:
        UserError: If the name has no known ending, the folder is not there, or the file is.
    """
    return output_format(target, _SINKS, overwrite=overwrite)


@contextmanager
def open_vectors(
    target: str | Path,
    dimension: int,
    *,
    dtype: VectorType = "float32",
    schema: pyarrow.Schema | None = None,
    overwrite: bool = False,
) -> Generator[Write]:
    """Open a file of vectors for writing; it appears under its name when the block ends well.

    Args:
        target: A file ending in .npy, .parquet, .safetensors or .jsonl, or "-" for JSON lines on standard output.
        dimension: Numbers of a vector.
        dtype: Type of the numbers.
        schema: Types of the other columns for parquet; taken from the first block when None.
        overwrite: Whether the file may be there already.

    Yields:
        A function that appends vectors, with the record that belongs to each.

    Raises:
        UserError: If the file cannot be made, or a record does not fit to those before it.
        RunError: If the disk fills up, or a vector is not finite.
    """
    format = vector_format(target, overwrite=overwrite)
    if str(target) == "-":
        yield from _writing(_Jsonl(sys.stdout.buffer, _Numbers(dimension, dtype), None), dtype)
        sys.stdout.buffer.flush()
    else:
        with atomic_write(Path(target)) as file:
            yield from _writing(_SINKS[format](file, _Numbers(dimension, dtype), schema), dtype)


@dataclass(frozen=True)
class _Numbers:
    """Length and type of a vector."""

    dimension: int
    dtype: VectorType

    @property
    def bytes(self) -> int:
        return 2 if self.dtype == "float16" else 4


@runtime_checkable
class _Sink(Protocol):
    def write(self, vectors: Float[np.ndarray, "N D"], records: Sequence[Record]) -> None: ...
    def finish(self) -> None: ...


def _writing(sink: _Sink, dtype: VectorType) -> Generator[Write]:
    rows = 0

    def write(vectors: Float[np.ndarray, "N D"], records: Sequence[Record]) -> None:
        nonlocal rows
        with np.errstate(over="ignore"):
            vectors = np.ascontiguousarray(vectors, dtype="<f2" if dtype == "float16" else "<f4")
        if not np.isfinite(vectors).all():
            row = rows + int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0]) + 1
            hint = "" if dtype == "float32" else ", whose numbers end at 65,504: use float32"
            raise RunError(
                f"the model gave a vector that is not finite for row {row:,} in {dtype}{hint}"
            )
        sink.write(vectors, records)
        rows += len(vectors)

    try:
        yield write
    finally:
        sink.finish()


class _Raw:
    """Numbers after a header of fixed length, which is written again when the rows are counted."""

    def __init__(
        self, file: IO[bytes], numbers: _Numbers, header: Callable[[int, _Numbers], bytes]
    ) -> None:
        self._file, self._numbers, self._header = file, numbers, header
        self._rows = 0
        file.write(header(0, numbers))

    def write(self, vectors: Float[np.ndarray, "N D"], records: Sequence[Record]) -> None:
        self._file.write(vectors.data)
        self._rows += len(vectors)

    def finish(self) -> None:
        self._file.seek(0)
        self._file.write(self._header(self._rows, self._numbers))


def _npy_header(rows: int, numbers: _Numbers) -> bytes:
    shape = f"({rows}, {numbers.dimension})"
    header = f"{{'descr': '<f{numbers.bytes}', 'fortran_order': False, 'shape': {shape}, }}"
    return np.lib.format.magic(1, 0) + struct.pack("<H", 118) + f"{header:<117}\n".encode()


def _safetensors_header(rows: int, numbers: _Numbers) -> bytes:
    header = {
        "dtype": f"F{8 * numbers.bytes}",
        "shape": [rows, numbers.dimension],
        "data_offsets": [0, numbers.bytes * rows * numbers.dimension],
    }
    return struct.pack("<Q", 248) + f"{json.dumps({'embeddings': header}):<248}".encode()


class _Parquet:
    def __init__(self, file: IO[bytes], numbers: _Numbers, schema: pyarrow.Schema | None) -> None:
        self._file, self._columns = file, RecordColumns(schema)
        kind = pyarrow.float16() if numbers.dtype == "float16" else pyarrow.float32()
        self._vector = pyarrow.field(VECTOR_COLUMN, pyarrow.list_(kind, numbers.dimension))
        self._writer: parquet.ParquetWriter | None = None

    def write(self, vectors: Float[np.ndarray, "N D"], records: Sequence[Record]) -> None:
        _check_names(dict.fromkeys(name for record in records for name in record))
        arrays = self._columns.arrays(records)
        numbers = pyarrow.array(vectors.reshape(-1))
        arrays.append(pyarrow.FixedSizeListArray.from_arrays(numbers, type=self._vector.type))
        schema = self._columns.schema.append(self._vector)
        if self._writer is None:
            self._writer = parquet.ParquetWriter(
                self._file, schema, use_dictionary=self._columns.schema.names
            )
        self._writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))

    def finish(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _Jsonl:
    def __init__(self, file: WritesBytes, numbers: _Numbers, schema: pyarrow.Schema | None) -> None:
        self._file = file
        digits = "%.5g" if numbers.dtype == "float16" else "%.9g"
        self._numbers = ", ".join([digits] * numbers.dimension)

    def write(self, vectors: Float[np.ndarray, "N D"], records: Sequence[Record]) -> None:
        for vector, record in zip(vectors.tolist(), records, strict=True):
            _check_names(record)
            fields = to_json_line(dict(record))[1:-1]
            numbers = self._numbers % tuple(vector)
            line = f'{{{fields}{", " if fields else ""}"{VECTOR_COLUMN}": [{numbers}]}}\n'
            self._file.write(line.encode("utf-8", "surrogatepass"))

    def finish(self) -> None:
        pass


def _check_names(names: Mapping[str, object]) -> None:
    if VECTOR_COLUMN in names:
        raise UserError(
            f"the input has a column {VECTOR_COLUMN!r} already, the name under which the vectors are written; rename it"
        )


_SINKS: dict[str, Callable[[IO[bytes], _Numbers, pyarrow.Schema | None], _Sink]] = {
    "npy": lambda file, numbers, _: _Raw(file, numbers, _npy_header),
    "parquet": _Parquet,
    "safetensors": lambda file, numbers, _: _Raw(file, numbers, _safetensors_header),
    "jsonl": _Jsonl,
}
