"""Readers of every format: a stream of records with their line or row numbers.

Text formats are read line by line and checked on the way (UTF-8, no NUL bytes, no endless lines), so a mistake is
reported with its file and line, and a file of any size needs the memory of one line.

| format  | one record is           | notes                                                                    |
| ------- | ----------------------- | ------------------------------------------------------------------------ |
| txt     | a line, column `text`   |                                                                          |
| csv     | a row under a header    | quoted as in RFC 4180; a quoted field may span lines                     |
| tsv     | a row under a header    | never quoted: a `"` is an ordinary character                             |
| jsonl   | an object on one line   | also named .json; or one array of objects, which is read into memory     |
| parquet | a row                   |                                                                          |

All but parquet may be compressed (.gz, .xz, .zst).
"""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import pyarrow
from pyarrow import parquet

from textcl.data.json_rows import read_json, starts_array
from textcl.data.texts import is_missing
from textcl.errors import UserError
from textcl.terminal import counted

FORMATS = ("txt", "csv", "tsv", "jsonl", "parquet")


@runtime_checkable
class ByteLines(Protocol):
    """A file of bytes that is read line by line."""

    def readline(self, size: int, /) -> bytes:
        """The next line, its end included; cut after `size` bytes."""
        ...


def _open_zstd(path: Path, _mode: str) -> io.BufferedReader:
    return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))


COMPRESSED = {".gz": gzip.open, ".xz": lzma.open, ".zst": _open_zstd}
_MAGIC = {".gz": b"\x1f\x8b", ".xz": b"\xfd7zXZ", ".zst": b"\x28\xb5\x2f\xfd"}
MAX_LINE = 10_000_000  # bytes; no sentence is that long, but a file that is not lines of text is

_BROKEN_ARCHIVE = (gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError)

Values = dict[str, object]
Records = Iterator[tuple[int, Values | None]]
Reader = Callable[[Sequence[str] | None], Records]


class Stream(Protocol):
    """Records that are read once, from any place where they were before."""

    @property
    def shuffles(self) -> bool:
        """Whether they come through a buffer that is not part of the place, so that others follow a place later."""
        ...

    def go_on(self, state: Mapping[str, object] | None, before: int) -> None:
        """Begin the next reading at a place, with so many records before it; at the beginning when None."""
        ...

    def state(self) -> dict[str, object]:
        """The place behind the last record that was read."""
        ...


@dataclass(frozen=True)
class Part:
    """One file, list or data set.

    Args:
        name: What a message calls it.
        read: Yields (line or row number from 1, record), None for the record of a blank line; takes the columns that
            are wanted, where leaving out the others saves work.
        columns: Column names when they are known without reading.
        by_line: Whether the numbers are lines of a file.
        stream: Where `read` begins, for a data set that is streamed.
    """

    name: str
    read: Reader
    columns: tuple[str, ...] | None = None
    by_line: bool = True
    stream: Stream | None = None

    def place(self, number: int) -> str:
        """The words for record `number` in a message."""
        return f"{self.name}:{number}" if self.by_line else f"{self.name}, row {number}"


def file_part(path: Path, format: str) -> Part:
    """Part of a source that is a file of one of `FORMATS`."""
    if format == "parquet":
        return _parquet_part(path)
    opener = COMPRESSED.get(path.suffix.lower(), open)
    _check_compressed(path)
    return Part(str(path), text_reader(str(path), format, lambda: opener(path, "rb")))


def text_reader(
    name: str, format: str, opener: Callable[[], AbstractContextManager[ByteLines]]
) -> Reader:
    """Reader of lines of text.

    Args:
        name: What a message calls them.
        format: txt, csv, tsv or jsonl.
        opener: Gives the bytes.
    """
    decode = {"txt": _read_txt, "csv": _read_csv, "tsv": _read_tsv, "jsonl": read_json}[format]

    def read(columns: Sequence[str] | None) -> Records:
        with opener() as file:
            yield from decode(name, _lines(name, file, arrays=format == "jsonl"))

    return read


def _check_compressed(path: Path) -> None:
    magic = _MAGIC.get(path.suffix.lower(), b"")
    with path.open("rb") as file:
        start = file.read(len(magic))
    if start != magic:
        raise UserError(
            f"{path} is not compressed, although its name ends in {path.suffix}: name it {path.stem}, or compress it"
        )


def _bare(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


def _lines(name: str, file: ByteLines, *, arrays: bool) -> Iterator[str]:
    """Checked lines with their ends. Only a newline ends a line: U+2028 and its like belong to the text."""
    number, array = 0, False
    try:
        for number, start in enumerate(iter(partial(file.readline, MAX_LINE + 1), b""), 1):
            array = array or (arrays and number == 1 and starts_array(start))
            raw = _whole_line(file, start) if array else start  # pandas writes an array as one line
            if len(raw) > MAX_LINE and not array:
                raise UserError(
                    f"{name}:{number}: the line is longer than {MAX_LINE:,} bytes, so this is not a file of texts; "
                    "break it into lines"
                )
            if number == 1:
                _check_start(name, raw)
                _check_line_ends(name, raw)
            if b"\0" in raw:
                raise UserError(
                    f"{name}:{number}: NUL byte at byte {raw.index(0) + 1} of the line, so this is not plain text; "
                    "remove it, or where the file is UTF-16 save it as UTF-8"
                )
            line = raw.decode()
            yield line.removeprefix("\ufeff") if number == 1 else line
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name}:{number}: not UTF-8 at byte {error.start + 1} of the line (0x{error.object[error.start]:02x}); "
            "save the file as UTF-8, for example with iconv -f windows-1252 -t utf-8"
        ) from error
    except _BROKEN_ARCHIVE as error:
        raise UserError(
            f"{name}: the compressed file is broken after line {number} ({error})"
        ) from error
    except OSError as error:
        raise UserError(f"{name}: cannot be read after line {number} ({error})") from error


def _whole_line(file: ByteLines, start: bytes) -> bytes:
    parts = [start]
    while not parts[-1].endswith(b"\n") and (more := file.readline(MAX_LINE)):
        parts.append(more)
    return b"".join(parts)


_STARTS = {
    b"version https://git-lfs": "is the pointer of a file in git-lfs and not the file itself: run git lfs pull",
    b"PK\x03\x04": "is a spreadsheet or a zip archive inside: save it as csv, or unpack it",
    b"\xd0\xcf\x11\xe0": "is a document of an office program inside: save it as csv",
    b"%PDF": "is a PDF inside: save its text as txt",
    b"PAR1": "is a parquet file inside: let its name end in .parquet",
    b"\x1f\x8b": "is compressed inside: let its name end in .gz",
    b"\xfd7zXZ": "is compressed inside: let its name end in .xz",
    b"\xff\xfe": "is UTF-16: save it as UTF-8, for example with iconv -f utf-16 -t utf-8",
    b"\xfe\xff": "is UTF-16: save it as UTF-8, for example with iconv -f utf-16 -t utf-8",
}
"""First bytes that betray what a file is, and how to get further."""


def _check_start(name: str, raw: bytes) -> None:
    for start, advice in _STARTS.items():
        if raw.startswith(start):
            raise UserError(f"{name} {advice}")


def _check_line_ends(name: str, raw: bytes) -> None:
    if b"\r" in raw.rstrip(b"\r") and not raw.endswith(b"\n"):
        raise UserError(
            f"{name}: lines end in a carriage return alone, as on old Macs: save it with line feeds, for example with "
            "tr '\\r' '\\n'"
        )


def _read_txt(name: str, lines: Iterator[str]) -> Records:
    for number, line in enumerate(lines, 1):
        yield number, {"text": _bare(line)}


def _read_csv(name: str, lines: Iterator[str]) -> Records:
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    reader = csv.reader(lines, strict=True)
    header: list[str] = []
    start = 1
    try:
        for fields in reader:
            if not fields:
                yield start, None
            elif not header:
                header = _header(fields, name, start)
                _check_commas(header, name, start)
            else:
                yield start, _named(header, fields, name, start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{name}:{start}: the row that begins here is not valid csv ({error}); is a quotation mark left open?"
        ) from error


def _read_tsv(name: str, lines: Iterator[str]) -> Records:
    header: list[str] = []
    for number, line in enumerate(map(_bare, lines), 1):
        if not line:
            yield number, None
        elif not header:
            header = _header(line.split("\t"), name, number)
        else:
            yield number, _named(header, line.split("\t"), name, number)


def _header(fields: list[str], name: str, number: int) -> list[str]:
    """Column names without the spaces around them."""
    fields = [field.strip() for field in fields]
    if len(set(fields)) < len(fields):
        shown = ", ".join(map(repr, fields))[:200]
        raise UserError(
            f"{name}:{number}: the first row must hold the column names, each once, but it is {shown}"
        )
    return fields


def _check_commas(header: list[str], name: str, number: int) -> None:
    if len(header) > 1:
        return
    for separator, advice in {
        ";": "write commas, for example with pandas.read_csv(…, sep=';') and to_csv",
        "\t": "let its name end in .tsv",
    }.items():
        if separator in header[0]:
            raise UserError(
                f"{name}:{number}: the columns of a csv are separated by commas, but the first row is {header[0]!r}; "
                + advice
            )


def _named(header: list[str], fields: list[str], name: str, number: int) -> Values:
    if len(fields) != len(header):
        raise UserError(
            f"{name}:{number}: {counted(len(fields), 'field')}, but the first row names "
            f"{counted(len(header), 'column')} ({', '.join(map(repr, header))})"
        )
    return dict(zip(header, fields, strict=True))


def _parquet_part(path: Path) -> Part:
    with path.open("rb") as file:
        start = file.read(32)
    if not start.startswith(b"PAR1"):
        _check_start(str(path), start)
    try:
        names = tuple(parquet.read_schema(path).names)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a parquet file ({error})") from error

    def read(columns: Sequence[str] | None) -> Records:
        number = 0
        try:
            with parquet.ParquetFile(path, memory_map=True) as file:
                wanted = None if columns is None else list(columns)
                for batch in file.iter_batches(batch_size=4096, columns=wanted):
                    yield from enumerate(batch.to_pylist(), number + 1)
                    number += len(batch)
        except (pyarrow.ArrowException, OSError) as error:
            raise UserError(f"{path}: cannot be read after row {number} ({error})") from error

    return Part(str(path), read, names, False)


def read_columns(table: Mapping[str, Sequence[object]], columns: Sequence[str] | None) -> Records:
    """Read columns in memory."""
    names = list(table) if columns is None else list(columns)
    for number, values in enumerate(zip(*(table[name] for name in names), strict=True), 1):
        yield number, dict(zip(names, values, strict=True))


def read_list(rows: Iterable[object], columns: Sequence[str] | None) -> Records:
    """Read texts or dicts of columns."""
    for number, row in enumerate(rows, 1):
        if isinstance(row, Mapping):
            yield number, {str(name): value for name, value in row.items()}
        elif isinstance(row, str) or is_missing(row):
            yield number, {"text": row}
        else:
            raise UserError(
                f"list, row {number}: expected a text or a dict of columns, got {type(row).__name__}"
            )
