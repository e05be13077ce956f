"""The checked rows of a source as an Arrow file in the cache of `datasets`, made once for the same bytes and wishes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow
from datasets import config as datasets_config

from textcl.data.files import atomic_write
from textcl.data.formats import Part
from textcl.data.roles import TEXT, column_for, kind_of, row_group
from textcl.data.sources import Source
from textcl.errors import UserError

LONG_TEXT = 100_000  # characters; such a text is kept (the tokenizer truncates it) but counted
IDENTITY = "_identity"
_LAYOUT = 1  # of the cached files: a change of what they hold needs a new number
_BLOCK_ROWS, _BLOCK_CHARACTERS = 8192, 16_000_000


@dataclass(frozen=True)
class DataReport:
    """What was read, for the user and for the model card.

    Args:
        source: As the user named it.
        format: One of `formats.FORMATS`, "list" or "dataset".
        rows: Rows that can be used.
        blank: Lines without a text, and rows where one is empty; they are skipped.
        duplicates: Rows whose values all occurred before (texts compared in NFC, stripped).
        dropped: How many of the duplicates were left out of `rows`.
        sha256: Of the file; of the lines `sha256sum *` prints for a folder; of the rows as JSON lines otherwise.
        longest: Characters of the longest text.
        long_texts: Texts of more than `LONG_TEXT` characters.
    """

    source: str
    format: str
    rows: int
    blank: int
    duplicates: int
    dropped: int
    sha256: str
    longest: int
    long_texts: int

    def describe(self) -> str:
        """One line for the terminal."""
        kept = "dropped" if self.dropped else "kept"
        notes = [
            f"{self.source}: {self.rows:,} rows ({self.format}, sha256 {self.sha256[:12]})",
            f"{self.blank:,} blank skipped" if self.blank else "",
            f"{self.duplicates:,} exact duplicates {kept}" if self.duplicates else "",
            f"longest text {self.longest:,} characters",
            f"{self.long_texts:,} texts over {LONG_TEXT:,}" if self.long_texts else "",
        ]
        return "; ".join(filter(None, notes))


class Wanted(NamedTuple):
    """Which rows of which source, see `load_rows`."""

    source: Source
    roles: tuple[str, ...]
    columns: dict[str, str]
    limit: int | None

    def rows(self) -> Iterator[tuple[Any, ...] | None]:
        """Checked values in the order of the roles; None for a row that lacks a text."""
        converters = [kind_of(role).convert for role in self.roles]
        usable = 0
        for part in self.source.parts:
            names = self._names(part.columns, part.name) if part.columns else None
            for number, values in part.read(names):
                row = None
                if values is not None:
                    names = names or self._names(list(values), part.place(number))
                    row = tuple(
                        checked(part, number, name, convert, values.get(name, _ABSENT))
                        for name, convert in zip(names, converters, strict=True)
                    )
                    row = None if None in row else row
                yield row
                usable += row is not None
                if usable == self.limit:
                    return

    def _names(self, there: Sequence[str], place: str) -> list[str]:
        return [column_for(role, there, self.columns, place) for role in self.roles]


_ABSENT = object()


def checked(part: Part, number: int, name: str, convert: Callable[[Any], Any], value: Any) -> Any:
    """`convert(value)`, with the place of the value in the message if it is not as it should be.

    Raises:
        UserError: If the value is absent or wrong.
    """
    if value is _ABSENT:
        raise UserError(f"{part.place(number)} has no {name!r}, which the rows before it have")
    try:
        return convert(value)
    except ValueError as error:
        raise UserError(f"{part.place(number)}, column {name}: {error}") from error


def cached_table(wanted: Wanted) -> tuple[Path, DataReport]:
    """The Arrow file of these rows, made if it is not there yet, and the report that lies beside it.

    Raises:
        UserError: For whatever is wrong in the source, or if the cache cannot be written.
        RunError: If the disk of the cache is full.
    """
    source = wanted.source
    sha256 = source.sha256() or _rows_sha256(wanted)
    asked = [_LAYOUT, sha256, source.format, wanted.roles, wanted.columns, wanted.limit]
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]
    folder = cache_folder()
    table, notes = folder / f"{key}.arrow", folder / f"{key}.json"
    if not (table.exists() and notes.exists()):
        counts = _write_table(table, wanted)
        with atomic_write(notes) as file:
            file.write(json.dumps(counts).encode())
    counts = json.loads(notes.read_text())
    return table, DataReport(source.name, source.format, **counts, dropped=0, sha256=sha256)


def cache_folder() -> Path:
    """Where rows and their tokens are kept; it is there afterwards.

    Raises:
        UserError: If it cannot be made.
    """
    folder = Path(datasets_config.HF_DATASETS_CACHE) / "textcl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the cache folder {folder} ({error.strerror}): "
            "set HF_DATASETS_CACHE to a folder that you may write to"
        ) from error
    return folder


def _rows_sha256(wanted: Wanted) -> str:
    digest = hashlib.sha256()
    for row in wanted.rows():
        if row is not None:
            digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()


def _write_table(path: Path, wanted: Wanted) -> dict[str, int]:
    """Write the rows block by block.

    Returns:
        The counts of the report.
    """
    fields = [(role, kind_of(role).stored) for role in wanted.roles]
    schema = pyarrow.schema([*fields, (IDENTITY, pyarrow.int64())])
    texts = [index for index, role in enumerate(wanted.roles) if kind_of(role) is TEXT]
    identities: list[np.ndarray] = []
    longest = long_texts = blank = weight = 0
    block: list[tuple[Any, ...]] = []

    with atomic_write(path) as file, pyarrow.ipc.new_stream(file, schema) as writer:

        def flush() -> None:
            columns = list(zip(*block, strict=True))
            identities.append(np.array([row_group(row) for row in block], dtype=np.int64))
            arrays = [pyarrow.array(c, f.type) for c, f in zip(columns, schema, strict=False)]
            writer.write_batch(
                pyarrow.record_batch([*arrays, pyarrow.array(identities[-1])], schema=schema)
            )
            block.clear()

        for row in wanted.rows():
            if row is None:
                blank += 1
                continue
            for index in texts:
                length = len(row[index])
                weight += length
                if length > longest:
                    longest = length
                long_texts += length > LONG_TEXT
            block.append(row)
            if len(block) == _BLOCK_ROWS or weight > _BLOCK_CHARACTERS:
                flush()
                weight = 0
        if block:
            flush()
        rows = sum(map(len, identities))
        if not rows:
            raise UserError(
                f"{wanted.source.name} has no usable row: {blank:,} lines or rows are blank"
            )
    distinct = len(np.unique(np.concatenate(identities)))
    return {
        "rows": rows,
        "blank": blank,
        "duplicates": rows - distinct,
        "longest": longest,
        "long_texts": long_texts,
    }
