"""One pass over data of any length in flat memory, row by row or block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

from textcl.data.formats import Values
from textcl.data.reading import checked
from textcl.data.roles import column_for, text_value
from textcl.data.sources import Source, open_source


class StreamedRow(NamedTuple):
    """One record of `stream_rows`: its text, and all its columns under their own names."""

    text: str
    values: Values


def stream_rows(
    source: object,
    *,
    role: str = "text",
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
    format: str | None = None,
) -> Iterator[StreamedRow]:
    """Pass over a source once, in order, in the memory of one record.

    Nothing is left out, so that row i of what is made of it belongs to record i: a blank line of txt or jsonl and a
    missing text count as the empty text. (Between the rows of csv and tsv a blank line is no record.)

    Args:
        source: As for `load_rows`, or "-" for standard input, or what `open_source` returned.
        role: The role whose text is wanted.
        columns: Role to column name, where they differ.
        split: Part of a hub data set or of a folder.
        format: Format of standard input: txt (default), csv, tsv or jsonl.

    Raises:
        UserError: For whatever is wrong in the source, with file and line; as soon as it is met.
    """
    return _stream(open_source(source, split=split, format=format), role, columns or {})


def _stream(source: Source, role: str, columns: Mapping[str, str]) -> Iterator[StreamedRow]:
    for part in source.parts:
        name = None
        for number, values in part.read(None):
            if values is None:
                if source.format == "jsonl":
                    yield StreamedRow("", {})
                continue
            if name is None or name not in values:
                name = column_for(role, list(values), columns, part.place(number))
            text = checked(part, number, name, text_value, values[name]) or ""
            yield StreamedRow(text, values)


@runtime_checkable
class HasText(Protocol):
    """A record with a text."""

    @property
    def text(self) -> str:
        """The text."""
        ...


R = TypeVar("R", bound=HasText)


def row_blocks(
    rows: Iterable[R], most_rows: int = 8192, most_characters: int = 16_000_000
) -> Iterator[list[R]]:
    """Rows in lists that fit into memory whatever their length.

    Args:
        rows: The rows, which are read one after another.
        most_rows: Rows of a list.
        most_characters: Characters of a list, after which it ends.
    """
    block: list[R] = []
    characters = 0
    for row in rows:
        block.append(row)
        characters += len(row.text)
        if len(block) == most_rows or characters > most_characters:
            yield block
            block, characters = [], 0
    if block:
        yield block
