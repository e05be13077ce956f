"""Training data that are larger than the cache: rows are read on the way, and shuffled buffer by buffer.

The rows of a stream are numbered as they arrive, pass after pass. Buffer k holds rows k·N to (k + 1)·N. Whoever goes on
from row r needs no more than the place where the buffer of r begins: it is filled again from there.
"""

from __future__ import annotations

import atexit
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from threading import Lock
from weakref import WeakSet

import datasets
import pyarrow

from textcl.data.cache import LONG_TEXT, DataReport
from textcl.data.json_files import decode
from textcl.data.reading import START, Place, Reading, Selection
from textcl.data.roles import kind_of, row_group, texts_in
from textcl.data.rows import Row, Rows
from textcl.errors import UserError

_HELD = 4  # buffers in memory: batches that are made ahead lie in neighbours


@dataclass(frozen=True)
class StreamPlace:
    """The place where a buffer begins.

    Args:
        buffer: Its number.
        place: Place in the source.
    """

    buffer: int = 0
    place: Place = START


class StreamedRows(Rows):
    """Rows by their number in a stream; whatever does not draw by number sees those of the first buffer.

    Args:
        selection: Which rows.
        buffer: Rows of a buffer.
        check: Refuses rows that the run cannot use; called with every buffer.

    Raises:
        UserError: If something is wrong in the first rows, or there are fewer than a buffer holds.
    """

    def __init__(
        self, selection: Selection, buffer: int, check: Callable[[Rows], object] = lambda _: None
    ) -> None:
        if any(part.stream and part.stream.shuffles for part in selection.source.parts):
            raise UserError(
                "the data set shuffles in a buffer of its own, which is lost where a run goes on: leave its shuffle(…) "
                "out, shuffle_buffer does the same"
            )
        self.buffer = buffer
        self._selection, self._check = selection, check
        self._held: dict[int, Rows] = {}
        self._lock = Lock()  # batches are made in a thread, and checkpoints written in another
        self._begin(StreamPlace())
        first = self._read()
        report = _report(selection, first, self._reading.blank)
        super().__init__(first, selection.roles, report)
        self._hold(first)
        _OPEN.add(self)

    def __getitem__(self, indices: Sequence[int]) -> list[Row]:
        """The rows with these numbers, in that order."""
        with self._lock:
            rows_by_index: dict[int, Row] = {}
            for number in sorted({index // self.buffer for index in indices}):
                here = [index for index in indices if index // self.buffer == number]
                rows = self._rows_of(number)[[index % self.buffer for index in here]]
                rows_by_index |= zip(here, rows, strict=True)
        return [rows_by_index[index] for index in indices]

    def place_of(self, row: int) -> dict[str, object]:
        """Position from which `go_on` draws rows again, as plain values."""
        number = row // self.buffer
        with self._lock:
            if number not in self._begins:
                self._rows_of(number - 1)
            return asdict(self._begins[number])

    def go_on(self, place: Mapping[str, object]) -> None:
        """Draw rows from a place on, and none before it."""
        with self._lock:
            self._begin(decode(dict(place), StreamPlace, "place in the stream"))

    def close(self) -> None:
        """Leave the source; no row is drawn afterwards."""
        with self._lock:
            self._coming.close()

    def _begin(self, start: StreamPlace) -> None:
        self._held = {k: v for k, v in self._held.items() if not k}
        self._begins = {start.buffer: start}
        self._next = start
        self._pass_on(start.place)

    def _pass_on(self, place: Place) -> None:
        self._reading = Reading(self._selection, place)
        self._coming = self._reading.rows()

    def _rows_of(self, number: int) -> Rows:
        """A buffer; the first is always at hand, for whoever looks at rows without drawing them."""
        if number and number not in self._held and number < self._next.buffer:
            raise IndexError(f"buffer {number} of the stream is gone: rows are drawn in order")
        while number not in self._held:
            self._hold(self._read())
        return self._held[number]

    def _hold(self, data: datasets.Dataset) -> None:
        """Take the next buffer in, and note where the one behind it begins."""
        number = self._next.buffer
        rows = Rows(data, self.roles, self.report)
        self._check(rows)
        self._held = {k: v for k, v in self._held.items() if not k or k > number - _HELD}
        self._held[number] = rows
        self._next = StreamPlace(number + 1, self._reading.place)
        self._begins[number + 1] = self._next

    def _read(self) -> datasets.Dataset:
        """The rows of the next buffer; the last of a pass are followed by the first of another."""
        rows = list(islice(self._coming, self.buffer))
        while len(rows) < self.buffer:
            if not self._next.buffer:
                raise UserError(
                    f"{self._selection.source.name} has {len(rows):,} usable rows, fewer than "
                    f"shuffle_buffer={self.buffer}: lower that, or do not stream them"
                )
            self._pass_on(START)
            more = list(islice(self._coming, self.buffer - len(rows)))
            if not more:
                raise UserError(
                    f"{self._selection.source.name} gives its rows once only, and ended before the run: lower steps"
                )
            rows += more
        fields = [(role, kind_of(role).stored) for role in self._selection.roles]
        arrays = [
            pyarrow.array(column, stored)
            for column, (_, stored) in zip(zip(*rows, strict=True), fields, strict=True)
        ]
        return datasets.Dataset(pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(fields)))


_OPEN: WeakSet[StreamedRows] = WeakSet()


@atexit.register
def _close_all() -> None:
    """Leave all sources while the modules that read them are still whole."""
    for rows in [*_OPEN]:
        rows.close()


def _report(selection: Selection, first: datasets.Dataset, blank: int) -> DataReport:
    """Report before training, from the first rows, the names of the files and their sizes, or the commit of the hub."""
    rows = list(zip(*(first[role] for role in selection.roles), strict=True))
    digest = hashlib.sha256((selection.source.commit or "").encode())
    for path in selection.source.files:
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
    for row in rows:
        digest.update(json.dumps(row).encode() + b"\n")
    lengths = [
        len(text)
        for row in rows
        for role, value in zip(selection.roles, row, strict=True)
        for text in texts_in(role, value)
    ]
    return DataReport(
        source=selection.source.name,
        format=selection.source.format,
        rows=len(rows),
        blank=blank,
        duplicates=len(rows) - len({row_group(row) for row in rows}),
        dropped=0,
        sha256=digest.hexdigest(),
        longest=max(lengths, default=0),
        long_texts=sum(length > LONG_TEXT for length in lengths),
        streamed=True,
    )
