"""Files of vectors, written block by block in flat memory.

| format      | holds                                                                                         |
| ----------- | --------------------------------------------------------------------------------------------- |
| npy         | float32 (N, D); `numpy.load(path, mmap_mode="r")`                                             |
| safetensors | float32 (N, D) under the name "embeddings"                                                    |
| parquet     | every column of the input and "embedding", a fixed-size list of float32                       |
| jsonl       | the same, one object per line; the numbers read back as exactly the same float32              |
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow
from jaxtyping import Float
from pyarrow import parquet

from textcl.errors import RunError, UserError
from textcl.files import atomic_write

VECTOR_COLUMN = "embedding"
Record = Mapping[str, Any]
Write = Callable[[Float[np.ndarray, "N D"], Sequence[Record]], None]


def vector_format(target: str | Path, *, overwrite: bool = False) -> str:
    """The format that the name of `target` asks for, once it is sure that it may be written.

    Args:
        target: A file to be, or "-" for JSON lines on standard output.
        overwrite: Whether the file may be there already.

    Raises:
        UserError: If the name has no known ending, the folder is not there, or the file is.
    """
    if str(target) == "-":
        return "jsonl"
    path = Path(target)
    format = path.suffix.removeprefix(".").lower()
    if format not in _SINKS:
        raise UserError(
            f"{target}: the output must end in {', '.join('.' + name for name in _SINKS)}, or be - for standard output"
        )
    if not path.parent.is_dir():
        raise UserError(f"{target}: the folder {path.parent} does not exist; make it first")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"{target}: you may not write to the folder {path.parent}; name another")
    if path.is_dir():
        raise UserError(f"{target} is a folder; name a file")
    if path.exists() and not overwrite:
        raise UserError(f"{target} exists already; say --overwrite to replace it")
    return format


@contextmanager
def open_vectors(
    target: str | Path,
    dimension: int,
    *,
    schema: pyarrow.Schema | None = None,
    overwrite: bool = False,
) -> Generator[Write]:
    """Open a file of vectors for writing; it appears under its name when the block ends well.

    Args:
        target: A file ending in .npy, .parquet, .safetensors or .jsonl, or "-" for JSON lines on standard output.
        dimension: Numbers of a vector.
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
        yield from _writing(_Jsonl(sys.stdout.buffer, dimension, None))
        sys.stdout.buffer.flush()
    else:
        with atomic_write(Path(target)) as file:
            yield from _writing(_SINKS[format](file, dimension, schema))


@runtime_checkable
class _Sink(Protocol):
    def write(self, vectors: Float[np.ndarray, "N D"], records: Sequence[Record]) -> None: ...
    def finish(self) -> None: ...


def _writing(sink: _Sink) -> Generator[Write]:
    rows = 0

    def write(vectors: Float[np.ndarray, "N D"], records: Sequence[Record]) -> None:
        nonlocal rows
        if not np.isfinite(vectors).all():
            row = rows + int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0]) + 1
            raise RunError(f"the model gave a vector that is not finite for row {row:,}")
        sink.write(np.ascontiguousarray(vectors, dtype="<f4"), records)
        rows += len(vectors)

    try:
        yield write
    finally:
        sink.finish()


class _Raw:
    """Numbers after a header of fixed length, which is written again when the rows are counted."""

    def __init__(self, file: Any, dimension: int, header: Callable[[int, int], bytes]) -> None:
        self._file, self._dimension, self._header = file, dimension, header
        self._rows = 0
        file.write(header(0, dimension))

    def write(self, vectors: Float[np.ndarray, "N D"], records: Sequence[Record]) -> None:
        self._file.write(vectors.data)
        self._rows += len(vectors)

    def finish(self) -> None:
        self._file.seek(0)
        self._file.write(self._header(self._rows, self._dimension))


def _npy_header(rows: int, dimension: int) -> bytes:
    told = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dimension}), }}"
    return np.lib.format.magic(1, 0) + struct.pack("<H", 118) + f"{told:<117}\n".encode()


def _safetensors_header(rows: int, dimension: int) -> bytes:
    told = {
        "dtype": "F32",
        "shape": [rows, dimension],
        "data_offsets": [0, 4 * rows * dimension],
    }
    return struct.pack("<Q", 248) + f"{json.dumps({'embeddings': told}):<248}".encode()


class _Parquet:
    def __init__(self, file: Any, dimension: int, schema: pyarrow.Schema | None) -> None:
        self._file, self._schema = file, schema and schema.remove_metadata()
        self._as_given = schema is not None
        self._vector = pyarrow.field(VECTOR_COLUMN, pyarrow.list_(pyarrow.float32(), dimension))
        self._writer: parquet.ParquetWriter | None = None

    def write(self, vectors: Float[np.ndarray, "N D"], records: Sequence[Record]) -> None:
        names = dict.fromkeys(name for record in records for name in record)
        _check_names(names)
        if self._schema is None:
            self._schema = pyarrow.schema(
                {name: self._array(name, None, records).type for name in names}
            )
        if unknown := [name for name in names if name not in self._schema.names]:
            raise UserError(
                f"the column {unknown[0]!r} first appears after the first rows, which a parquet file cannot hold; "
                "write .jsonl instead"
            )
        arrays = [self._array(field.name, field.type, records) for field in self._schema]
        numbers = pyarrow.array(vectors.reshape(-1))
        arrays.append(pyarrow.FixedSizeListArray.from_arrays(numbers, type=self._vector.type))
        schema = self._schema.append(self._vector)
        if self._writer is None:
            self._writer = parquet.ParquetWriter(
                self._file, schema, use_dictionary=self._schema.names
            )
        self._writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))

    def _array(
        self, name: str, stored: pyarrow.DataType | None, records: Sequence[Record]
    ) -> pyarrow.Array:
        values = [record.get(name) for record in records]
        try:
            if self._as_given:
                return pyarrow.array(values, stored)
            found = pyarrow.array(map(_flat, values))
            wanted = _settled(found.type) if stored is None else stored
            if not _widens(found.type, wanted):
                raise pyarrow.ArrowInvalid(f"first {wanted}, then {found.type}")
            return found.cast(wanted)
        except (pyarrow.ArrowException, OverflowError) as error:
            raise UserError(
                f"the column {name!r} mixes types, which a parquet file cannot hold ({error}); write .jsonl instead"
            ) from error

    def finish(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _flat(value: Any) -> Any:
    """Nested objects as JSON text: their keys may differ from row to row, those of a parquet column may not."""
    nested = isinstance(value, list) and any(isinstance(inner, (dict, list)) for inner in value)
    return json.dumps(value, ensure_ascii=False) if nested or isinstance(value, dict) else value


def _settled(found: pyarrow.DataType) -> pyarrow.DataType:
    """The type of a column whose first rows have the type `found`; text where they are all empty."""
    if pyarrow.types.is_list(found):
        return pyarrow.list_(_settled(found.value_type))
    return pyarrow.string() if pyarrow.types.is_null(found) else found


def _widens(found: pyarrow.DataType, wanted: pyarrow.DataType) -> bool:
    """Whether values of type `found` fit into `wanted` as they are; pyarrow itself would make 2 of 2.5."""
    if pyarrow.types.is_list(found) and pyarrow.types.is_list(wanted):
        return _widens(found.value_type, wanted.value_type)
    whole = pyarrow.types.is_integer(found) and pyarrow.types.is_floating(wanted)
    return found == wanted or pyarrow.types.is_null(found) or whole


class _Jsonl:
    def __init__(self, file: Any, dimension: int, schema: pyarrow.Schema | None) -> None:
        self._file = file
        self._numbers = ", ".join(["%.9g"] * dimension)

    def write(self, vectors: Float[np.ndarray, "N D"], records: Sequence[Record]) -> None:
        for vector, record in zip(vectors.tolist(), records, strict=True):
            _check_names(record)
            told = json.dumps(dict(record), ensure_ascii=False, default=str)[1:-1]
            numbers = self._numbers % tuple(vector)
            line = f'{{{told}{", " if told else ""}"{VECTOR_COLUMN}": [{numbers}]}}\n'
            self._file.write(line.encode("utf-8", "surrogatepass"))

    def finish(self) -> None:
        pass


def _check_names(names: Mapping[str, Any]) -> None:
    if VECTOR_COLUMN in names:
        raise UserError(
            f"the input has a column {VECTOR_COLUMN!r} already, the name under which the vectors are written; rename it"
        )


_SINKS: dict[str, Callable[[Any, int, pyarrow.Schema | None], _Sink]] = {
    "npy": lambda file, dimension, _: _Raw(file, dimension, _npy_header),
    "parquet": _Parquet,
    "safetensors": lambda file, dimension, _: _Raw(file, dimension, _safetensors_header),
    "jsonl": _Jsonl,
}
