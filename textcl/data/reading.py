"""One pass over the rows of a source: every value is checked, and where it is, it can go on from later."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TypeVar

from textcl.data.formats import Part, Records
from textcl.data.labels import LabelReader
from textcl.data.roles import column_for, reader_of
from textcl.data.sources import Source
from textcl.errors import UserError

T = TypeVar("T")


class Selection(NamedTuple):
    """Choice of the rows of a source, see `load_rows`."""

    source: Source
    roles: tuple[str, ...]
    columns: dict[str, str]
    limit: int | None
    label_separator: str = ""


@dataclass(frozen=True)
class Place:
    """A place in a source.

    Args:
        part: Its part.
        record: Records of that part before it.
        state: The place as a `datasets.IterableDataset` itself gives it; None in anything else.
    """

    part: int = 0
    record: int = 0
    state: Mapping[str, object] | None = None


START = Place()


class Reading:
    """One pass over the rows of a selection, and what it met.

    Args:
        selection: The rows.
        start: Where it begins.
    """

    def __init__(self, selection: Selection, start: Place = START) -> None:
        self._selection, self._start = selection, start
        self._part, self._record = start.part, start.record
        self._readers = [reader_of(role, selection.label_separator) for role in selection.roles]
        self.blank = 0
        self.unlabelled: list[str] = []

    @property
    def merged(self) -> list[str]:
        """Labels that were written in several ways and are one class now."""
        readers = (reader for reader in self._readers if isinstance(reader, LabelReader))
        return [line for reader in readers for line in reader.merged]

    @property
    def place(self) -> Place:
        """The place behind the last row that `rows` gave."""
        stream = self._selection.source.parts[self._part].stream
        return Place(self._part, self._record, stream.state() if stream and self._record else None)

    def rows(self) -> Generator[tuple[object, ...]]:
        """Checked values in the order of the roles.

        Raises:
            UserError: If something is wrong in the source.
        """
        usable = 0
        for place, values in self._records():
            if values is None or any(
                value is None and not isinstance(reader, LabelReader)
                for value, reader in zip(values, self._readers, strict=True)
            ):
                self.blank += 1
            elif self._has_no_label(values):
                self.unlabelled.append(place)
            else:
                yield values
                usable += 1
            if usable == self._selection.limit:
                break

    def _has_no_label(self, values: Sequence[object]) -> bool:
        """Whether a label is missing, or where there are several label columns all of them are."""
        pairs = zip(values, self._readers, strict=True)
        labels = [value for value, reader in pairs if isinstance(reader, LabelReader)]
        return bool(labels) and all(label is None for label in labels)

    def _records(self) -> Iterator[tuple[str, tuple[object, ...] | None]]:
        parts = self._selection.source.parts
        for index, part in enumerate(parts[self._start.part :], self._start.part):
            self._part = index
            names = self._names(part.columns, part.name) if part.columns else None
            for number, values in self._read(part, names):
                self._record += 1
                row = None
                if values is not None:
                    names = names or self._names(list(values), part.place(number))
                    row = tuple(
                        checked(part, number, name, reader, values.get(name, _ABSENT))
                        for name, reader in zip(names, self._readers, strict=True)
                    )
                yield part.place(number), row
            self._record = 0

    def _read(self, part: Part, names: Sequence[str] | None) -> Records:
        """The records of a part behind where it begins."""
        if part.stream is None:
            return islice(part.read(names), self._record, None)
        part.stream.go_on(self._start.state if self._record else None, self._record)
        return part.read(names)

    def _names(self, available: Sequence[str], place: str) -> list[str]:
        _, roles, columns, *_ = self._selection
        return [column_for(role, available, columns, place) for role in roles]


_ABSENT = object()


def checked(part: Part, number: int, name: str, convert: Callable[[object], T], value: object) -> T:
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
