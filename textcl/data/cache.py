"""The checked rows of a source as an Arrow file in the cache of `datasets`, made once for the same selection."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
from datasets import config as datasets_config

from textcl.data.files import atomic_write, write_json
from textcl.data.json_files import read_as
from textcl.data.reading import Reading, Selection
from textcl.data.roles import kind_of, row_group, texts_in
from textcl.errors import UserError
from textcl.terminal import counted

LONG_TEXT = 100_000  # characters; such a text is kept (the tokenizer truncates it) but counted
IDENTITY = "_identity"
_LAYOUT = 2  # of the cached files: a change of what they hold needs a new number
_BLOCK_ROWS, _BLOCK_CHARACTERS = 8192, 16_000_000
_SHOWN_PLACES = 5


@dataclass(frozen=True)
class DataReport:
    """Summary of the rows of a source, for the user and for the model card.

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
        unlabelled: Rows without a label that were left out.
        merged: Labels that were written in several ways and are one class, a line for each.
        streamed: Whether all this is known of the first rows alone, for the rest are read on the way. The hash is then
            of these rows as JSON lines behind the names and sizes of the files, or the commit on the hub.
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
    unlabelled: int = 0
    merged: Sequence[str] = ()
    streamed: bool = False

    @property
    def extent(self) -> str:
        """The number of rows, as far as it is known."""
        return (
            f"a stream, of which the first {counted(self.rows, 'row')}"
            if self.streamed
            else counted(self.rows, "row")
        )

    def describe(self) -> str:
        """One line for the terminal."""
        kept = "dropped" if self.dropped else "kept"
        notes = [
            f"{self.source}: {self.extent} ({self.format}, sha256 {self.sha256[:12]})",
            f"{self.blank:,} blank skipped" if self.blank else "",
            f"{counted(self.duplicates, 'exact duplicate')} {kept}" if self.duplicates else "",
            f"{self.unlabelled:,} without a label left out" if self.unlabelled else "",
            f"longest text {counted(self.longest, 'character')}",
            f"{counted(self.long_texts, 'text')} over {LONG_TEXT:,}" if self.long_texts else "",
            *self.merged,
        ]
        return "; ".join(filter(None, notes))


@dataclass(frozen=True)
class _Counts:
    """Counts of a `DataReport`, as they lie beside the cached table."""

    rows: int
    blank: int
    duplicates: int
    longest: int
    long_texts: int
    unlabelled: int
    unlabelled_places: Sequence[str]
    merged: Sequence[str]


def cached_table(selection: Selection, *, drop_unlabelled: bool = False) -> tuple[Path, DataReport]:
    """The Arrow file of these rows, made if it is not there yet, and the report that lies beside it.

    Raises:
        UserError: For whatever is wrong in the source, if rows lack a label that are not to be dropped, or if the
            cache cannot be written.
        RunError: If the disk of the cache is full.
    """
    source = selection.source
    sha256 = source.sha256() or _rows_sha256(selection)
    asked = [_LAYOUT, sha256, source.format, *selection[1:]]
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]
    folder = cache_folder()
    table, notes = folder / f"{key}.arrow", folder / f"{key}.json"
    counts = _kept(table, notes)
    if counts is None:
        counts = _write_table(table, selection)
        write_json(notes, counts)
    if counts.unlabelled_places and not drop_unlabelled:
        raise _no_label(counts.unlabelled, counts.unlabelled_places)
    report = DataReport(
        source=source.name,
        format=source.format,
        rows=counts.rows,
        blank=counts.blank,
        duplicates=counts.duplicates,
        dropped=0,
        sha256=sha256,
        longest=counts.longest,
        long_texts=counts.long_texts,
        unlabelled=counts.unlabelled,
        merged=counts.merged,
    )
    return table, report


def _kept(table: Path, notes: Path) -> _Counts | None:
    """Counts of a cached table; None where one of the files is missing or damaged, so that both are made anew."""
    if not (table.exists() and notes.exists()):
        return None
    try:
        counts = read_as(notes, _Counts)
        with pyarrow.memory_map(str(table)) as file, pyarrow.ipc.open_stream(file) as batches:
            rows = sum(batch.num_rows for batch in batches)
    except (UserError, pyarrow.ArrowException, OSError):
        return None
    return counts if rows == counts.rows else None


def _no_label(rows: int, places: Sequence[str]) -> UserError:
    more = ", …" if rows > len(places) else ""
    return UserError(
        f"{rows:,} row{'s have' if rows > 1 else ' has'} no label ({', '.join(places)}{more}): fill them in, or leave "
        "such rows out (a training run does with --set drop_unlabelled=true)"
    )


def cache_folder() -> Path:
    """Folder of rows and their tokens, made if it does not exist.

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


def _rows_sha256(selection: Selection) -> str:
    digest = hashlib.sha256()
    for row in Reading(selection).rows():
        digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()


def _why_none(roles: Sequence[str], blank: int, unlabelled: int) -> str:
    """Reason why a source has no usable row."""
    lacking = f"lines or rows are blank or lack one of {', '.join(roles)}"
    counts = {
        lacking if len(roles) > 1 else "lines or rows are blank": blank,
        "have no label": unlabelled,
    }
    reasons = [f"{count:,} {reason}" for reason, count in counts.items() if count]
    return ", ".join(reasons) or "it is empty, or has column names alone"


def _write_table(path: Path, selection: Selection) -> _Counts:
    """Write the rows block by block.

    Returns:
        The counts of the report.
    """
    fields = [(role, kind_of(role).stored) for role in selection.roles]
    schema = pyarrow.schema([*fields, (IDENTITY, pyarrow.int64())])
    identities: list[np.ndarray] = []
    longest = long_texts = weight = 0
    block: list[tuple[object, ...]] = []

    with atomic_write(path) as file, pyarrow.ipc.new_stream(file, schema) as writer:

        def flush() -> None:
            columns = list(zip(*block, strict=True))
            identities.append(np.array([row_group(row) for row in block], dtype=np.int64))
            arrays = [pyarrow.array(c, f.type) for c, f in zip(columns, schema, strict=False)]
            writer.write_batch(
                pyarrow.record_batch([*arrays, pyarrow.array(identities[-1])], schema=schema)
            )
            block.clear()

        reading = Reading(selection)
        for row in reading.rows():
            for role, value in zip(selection.roles, row, strict=True):
                for length in map(len, texts_in(role, value)):
                    weight += length
                    longest = max(longest, length)
                    long_texts += length > LONG_TEXT
            block.append(row)
            if len(block) == _BLOCK_ROWS or weight > _BLOCK_CHARACTERS:
                flush()
                weight = 0
        if block:
            flush()
        rows = sum(map(len, identities))
        if not rows:
            why = _why_none(selection.roles, reading.blank, len(reading.unlabelled))
            raise UserError(f"{selection.source.name} has no usable row: {why}")
    distinct = len(np.unique(np.concatenate(identities)))
    return _Counts(
        rows=rows,
        blank=reading.blank,
        duplicates=rows - distinct,
        longest=longest,
        long_texts=long_texts,
        unlabelled=len(reading.unlabelled),
        unlabelled_places=reading.unlabelled[:_SHOWN_PLACES],
        merged=reading.merged,
    )
