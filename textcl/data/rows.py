"""Rows by role from any source, checked once and memory-mapped.

`load_rows` is for training and evaluation: it reads a source through, checks every value, and keeps the wanted columns
as an Arrow file in the cache of `datasets`, so that a corpus larger than the memory can be drawn from at random.
`stream_rows` is for encoding: it passes over a source once, in order, and keeps everything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import datasets
import numpy as np

from textcl.data.arguments import checked_arguments
from textcl.data.cache import IDENTITY, DataReport, cached_table
from textcl.data.formats import Values
from textcl.data.label_columns import column_role
from textcl.data.reading import Selection
from textcl.data.roles import TEXT, TEXT_LISTS, kind_of, texts_in
from textcl.data.sources import Source, open_source
from textcl.errors import UserError

Row = dict[str, Any]
"""A row by role: a text is `str`, a score `float`, a label `str`; what a value is follows from its role."""


class Rows:
    """Rows on disk, with columns named by role.

    Text roles hold `str`, score a `float`, label a `str`, labels a `list[str]`, one of several label columns a `str` or
    None.

    Args:
        data: The memory-mapped table.
        roles: Its columns.
        report: What was read.
    """

    def __init__(self, data: datasets.Dataset, roles: Sequence[str], report: DataReport) -> None:
        self.roles = tuple(roles)
        self.report = report
        self._data = data.select_columns(list(roles))

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, indices: Sequence[int]) -> list[Row]:
        """The rows at `indices`, in that order."""
        columns = self._data[list(indices)]
        values = zip(*(columns[role] for role in self.roles), strict=True)
        return [dict(zip(self.roles, row, strict=True)) for row in values]

    def strings(self, role: str, indices: Sequence[int] | None = None) -> list[str]:
        """`column` of a role that holds one text or label a row."""
        return self.column(role, indices)

    def column(self, role: str, indices: Sequence[int] | None = None) -> list[Any]:
        """The values of a role in the rows at `indices`, in that order; of all rows when None."""
        return list(self._data[role] if indices is None else self._data[indices][role])

    def take(self, indices: Sequence[int]) -> Rows:
        """Some of the rows, in this order."""
        report = replace(self.report, rows=len(indices))
        return Rows(self._data.select(indices), self.roles, report)

    def of_label_column(self, name: str) -> Rows:
        """The rows that have a label in one of several label columns, which becomes their role "label"."""
        role = column_role(name)
        kept = [place for place, label in enumerate(self.column(role)) if label is not None]
        report = replace(self.report, source=f"{self.report.source}, column {name}", rows=len(kept))
        data = self._data.select_columns(["text", role]).rename_column(role, "label")
        return Rows(data.select(kept), ("text", "label"), report)

    @staticmethod
    def joined(parts: Sequence[Rows], source: str) -> Rows:
        """The rows of several data sets of the same roles, one after another.

        Args:
            parts: The data sets.
            source: What the user calls them together.
        """
        reports = [part.report for part in parts]
        listing = "".join(f"{report.sha256}\n" for report in reports)
        report = replace(
            reports[0],
            source=source,
            format=" + ".join(dict.fromkeys(report.format for report in reports)),
            rows=sum(map(len, parts)),
            blank=sum(report.blank for report in reports),
            duplicates=sum(report.duplicates for report in reports),
            dropped=sum(report.dropped for report in reports),
            sha256=hashlib.sha256(listing.encode()).hexdigest(),
            longest=max(report.longest for report in reports),
            long_texts=sum(report.long_texts for report in reports),
        )
        data = datasets.concatenate_datasets([part._data for part in parts])
        return Rows(data, parts[0].roles, report)

    def texts(self, indices: Sequence[int], roles: Sequence[str] | None = None) -> list[str]:
        """All texts of the rows at `indices`, those of lists among them, or those of some roles."""
        wanted = self.roles if roles is None else roles
        rows = self[indices]
        return [text for row in rows for role in wanted for text in texts_in(role, row[role])]

    @property
    def text_roles(self) -> tuple[str, ...]:
        """The roles that hold a text."""
        return tuple(role for role in self.roles if kind_of(role) is TEXT)

    @property
    def list_roles(self) -> tuple[str, ...]:
        """The roles that hold a list of texts."""
        return tuple(role for role in self.roles if role in TEXT_LISTS)

    def blocks(self, size: int = 1000) -> Iterator[list[Row]]:
        """All rows in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self[range(start, min(start + size, len(self)))]


@checked_arguments
def load_rows(
    source: object,
    *,
    roles: Sequence[str],
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
    limit: int | None = None,
    deduplicate: bool = False,
    drop_unlabelled: bool = False,
    label_separator: str = "",
) -> Rows:
    """Read, check and memory-map the rows of a source.

    Args:
        source: A file (txt, csv, tsv, jsonl, parquet; also .gz, .xz, .zst), a folder of them, "owner/name" or
            "owner/name:config" of a hub data set, a list or column of texts or of dicts, a table of pandas, polars or
            pyarrow, a dict of columns, or a `datasets.Dataset`.
        roles: What is wanted. "score" is a number, "label" a class name, "labels" several; every other role is a text.
        columns: Role to column name, where they differ.
        split: Part of a hub data set or of a folder.
        limit: Read no more than the first `limit` rows that are not blank.
        deduplicate: Keep only the first of rows that are equal.
        drop_unlabelled: Leave out rows whose label is missing, which are refused otherwise.
        label_separator: What stands between the names of the role "labels" where a text holds several, such as "," in
            "joy,love"; "" where they are lists.

    Returns:
        At least one row.

    Raises:
        UserError: For whatever is wrong in the source, with file and line.
        RunError: If the disk of the cache is full.
    """
    opened = open_source(source, split=split)
    if unknown := [f"{role}={name}" for role, name in (columns or {}).items() if role not in roles]:
        raise UserError(f"--column {unknown[0]}: the roles here are {', '.join(roles)}")
    if limit is not None and limit < 1:
        raise UserError(f"limit must be at least 1 row, got {limit}")
    if label_separator and "labels" not in roles:
        raise UserError(
            "--label-separator is for rows with several labels, which the role labels holds: say which column that is "
            "with --column labels=NAME"
        )
    selection = Selection(opened, tuple(roles), dict(columns or {}), limit, label_separator)
    table, report = cached_table(selection, drop_unlabelled=drop_unlabelled)
    data = datasets.Dataset.from_file(str(table))
    if deduplicate and report.duplicates:
        _, first = np.unique(data.data.column(IDENTITY).to_numpy(), return_index=True)
        data = data.select(np.sort(first))
        report = replace(report, rows=len(first), dropped=report.duplicates)
    return Rows(data, roles, report)


def settle_roles(
    source: object,
    roles: Sequence[str],
    *,
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
) -> tuple[str, ...]:
    """Decide for each of `roles` that names alternatives, such as "label|labels", which of them the data has.

    What the user named in `columns` decides, else the columns of the first record. If none is there, the first
    alternative stays, which `load_rows` then asks for.

    Raises:
        UserError: If several could be meant.
    """
    if not any("|" in role for role in roles):
        return tuple(roles)
    available = columns_of(open_source(source, split=split))
    settled: list[str] = []
    for role in roles:
        choices = role.split("|")
        named = [choice for choice in choices if choice in (columns or {})]
        fitting = named or [choice for choice in choices if choice in available]
        if len(fitting) > 1:
            ways = " or ".join(f"--column {choice}={choice}" for choice in fitting)
            raise UserError(
                f"the data has the columns {' and '.join(fitting)}: say which one is meant, {ways}"
            )
        settled.append(fitting[0] if fitting else choices[0])
    return tuple(settled)


def columns_of(source: Source) -> Values:
    """The first record that is not blank; of a source without one, its columns where they are known."""
    for part in source.parts:
        for _, values in part.read(None):
            if values is not None:
                return values
    return {name: None for part in source.parts for name in part.columns or ()}
