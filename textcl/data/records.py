"""Files of records, written block by block in flat memory.

| format  | holds                                                                             |
| ------- | --------------------------------------------------------------------------------- |
| csv     | a row under a header; lists and objects as JSON text                              |
| jsonl   | an object on one line                                                             |
| parquet | a row, with the types of the first block                                          |
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pyarrow
from pyarrow import parquet

from textcl.data.files import WritesBytes, atomic_write, output_format
from textcl.data.json_text import to_json_line
from textcl.errors import UserError

Record = Mapping[str, object]
WriteRecords = Callable[[Sequence[Record]], None]


def record_format(target: str | Path, *, overwrite: bool = False) -> str:
    """The format that the name of `target` asks for, once it is sure that it may be written.

    Raises:
        UserError: See `output_format`.
    """
    return output_format(target, _SINKS, overwrite=overwrite)


@contextmanager
def open_records(
    target: str | Path, *, schema: pyarrow.Schema | None = None, overwrite: bool = False
) -> Generator[WriteRecords]:
    """Open a file of records for writing; it appears under its name when the block ends well.

    Args:
        target: A file ending in .csv, .jsonl or .parquet, or "-" for JSON lines on standard output.
        schema: Types of the columns for parquet; taken from the first block when None.
        overwrite: Whether the file may be there already.

    Yields:
        A function that appends records.

    Raises:
        UserError: If the file cannot be made, or a record does not fit to those before it.
        RunError: If the disk fills up.
    """
    format = record_format(target, overwrite=overwrite)
    if str(target) == "-":
        yield _Jsonl(sys.stdout.buffer, None).write
        sys.stdout.buffer.flush()
        return
    with atomic_write(Path(target)) as file:
        sink = _SINKS[format](file, schema)
        try:
            yield sink.write
        finally:
            sink.finish()


class RecordColumns:
    """Records as columns of a type that stays the same from block to block.

    Args:
        schema: The types; those of the first block when None.
    """

    def __init__(self, schema: pyarrow.Schema | None) -> None:
        self._schema = schema and schema.remove_metadata()
        self._as_given = schema is not None

    @property
    def schema(self) -> pyarrow.Schema:
        """The types, once there was a block."""
        assert self._schema is not None
        return self._schema

    def arrays(self, records: Sequence[Record]) -> list[pyarrow.Array]:
        """The columns of a block.

        Raises:
            UserError: If a value has another type than those before it, or a column is new.
        """
        names = dict.fromkeys(name for record in records for name in record)
        if self._schema is None:
            self._schema = pyarrow.schema(
                {name: self._array(name, None, records).type for name in names}
            )
        if unknown := [name for name in names if name not in self._schema.names]:
            raise _late(unknown[0], "a parquet")
        return [self._array(field.name, field.type, records) for field in self._schema]

    def _array(
        self, name: str, stored: pyarrow.DataType | None, records: Sequence[Record]
    ) -> pyarrow.Array:
        values = [record.get(name) for record in records]
        try:
            if self._as_given:
                return pyarrow.array(values, stored)
            given = pyarrow.array(map(_flat, values))
            target_type = _settled(given.type) if stored is None else stored
            if not _widens(given.type, target_type):
                raise pyarrow.ArrowInvalid(f"first {target_type}, then {given.type}")
            return given.cast(target_type)
        except (pyarrow.ArrowException, OverflowError) as error:
            raise UserError(
                f"the column {name!r} mixes types, which a parquet file cannot hold ({error}); write .jsonl instead"
            ) from error


def _late(name: str, kind: str) -> UserError:
    return UserError(
        f"the column {name!r} first appears after the first rows, which {kind} file cannot hold; "
        "write .jsonl instead"
    )


def _flat(value: object) -> object:
    """Nested objects as JSON text: their keys may differ from row to row, those of a parquet column may not."""
    nested = isinstance(value, list) and any(isinstance(inner, (dict, list)) for inner in value)
    return to_json_line(value) if nested or isinstance(value, dict) else value


def _settled(given: pyarrow.DataType) -> pyarrow.DataType:
    """The type of a column whose first rows have the type `given`; text where they are all empty."""
    if pyarrow.types.is_list(given):
        return pyarrow.list_(_settled(given.value_type))
    return pyarrow.string() if pyarrow.types.is_null(given) else given


def _widens(given: pyarrow.DataType, target_type: pyarrow.DataType) -> bool:
    """Whether values of type `given` fit into `target_type` as they are; pyarrow itself would make 2 of 2.5."""
    if pyarrow.types.is_list(given) and pyarrow.types.is_list(target_type):
        return _widens(given.value_type, target_type.value_type)
    whole = pyarrow.types.is_integer(given) and pyarrow.types.is_floating(target_type)
    return given == target_type or pyarrow.types.is_null(given) or whole


class _Parquet:
    def __init__(self, file: IO[bytes], schema: pyarrow.Schema | None) -> None:
        self._file, self._columns = file, RecordColumns(schema)
        self._writer: parquet.ParquetWriter | None = None

    def write(self, records: Sequence[Record]) -> None:
        arrays = self._columns.arrays(records)
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._file, self._columns.schema)
        self._writer.write_table(pyarrow.Table.from_arrays(arrays, schema=self._columns.schema))

    def finish(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _Jsonl:
    def __init__(self, file: WritesBytes, schema: pyarrow.Schema | None) -> None:
        self._file = file

    def write(self, records: Sequence[Record]) -> None:
        for record in records:
            line = to_json_line(dict(record)) + "\n"
            self._file.write(line.encode("utf-8", "surrogatepass"))

    def finish(self) -> None:
        pass


class _Csv:
    def __init__(self, file: IO[bytes], schema: pyarrow.Schema | None) -> None:
        self._text = io.TextIOWrapper(file, "utf-8", "surrogatepass", newline="")
        self._names = list[str]()
        self._writer = csv.writer(self._text, lineterminator="\n")

    def write(self, records: Sequence[Record]) -> None:
        names = dict.fromkeys(name for record in records for name in record)
        if not self._names:
            self._names = list(names)
            self._writer.writerow(self._names)
        if unknown := [name for name in names if name not in self._names]:
            raise _late(unknown[0], "a csv")
        for record in records:
            self._writer.writerow([_cell(record.get(name)) for name in self._names])

    def finish(self) -> None:
        self._text.flush()
        self._text.detach()


def _cell(value: object) -> object:
    if isinstance(value, (list, dict)):
        return to_json_line(value)
    return value


_SINKS: dict[str, Callable[[IO[bytes], pyarrow.Schema | None], _Parquet | _Jsonl | _Csv]] = {
    "csv": _Csv,
    "jsonl": _Jsonl,
    "parquet": _Parquet,
}
