"""Blocks of the page of a report, each with a template of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from textcl.figures.cards import Card


class Figure(NamedTuple):
    """A figure of the report.

    Args:
        name: Its id, and its file name under `--figures`.
        chart: The Altair chart.
    """

    name: str
    chart: Any


class Neighbour(NamedTuple):
    """A text near another.

    Args:
        text: The text.
        cosine: Of the two.
        label: Its label, "" without.
        new: Whether it was not among the nearest of the first model.
    """

    text: str
    cosine: float
    label: str
    new: bool


class Tile(NamedTuple):
    """A key number before and after training.

    Args:
        name: What it is.
        value: Both values as text.
        words: How to read it.
        worse: Whether it got worse.
    """

    name: str
    value: str
    words: str
    worse: bool = False


@dataclass(frozen=True)
class Text:
    """A paragraph.

    Args:
        text: What it says.
        kind: "lead", "note" or "missing".
    """

    template: ClassVar[str] = "text.html.jinja"
    text: str
    kind: str


@dataclass(frozen=True)
class Grid:
    """Figures beside each other.

    Args:
        cards: In their order.
    """

    template: ClassVar[str] = "grid.html.jinja"
    cards: list[Card] = field(default_factory=list["Card"])

    @property
    def pairs(self) -> bool:
        """Whether the grid has two columns."""
        return all(card.size == "half" for card in self.cards)


@dataclass(frozen=True)
class Table:
    """A table; the arguments are those of `Document.table`."""

    template: ClassVar[str] = "table.html.jinja"
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    quiet: Sequence[int]

    @property
    def numeric(self) -> set[int]:
        """Columns of numbers, the first being 0."""
        return {at for at in range(len(self.header)) if _are_numbers([r[at] for r in self.rows])}


@dataclass(frozen=True)
class Tiles:
    """Key numbers in a row."""

    template: ClassVar[str] = "tiles.html.jinja"
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Folded:
    """Names and values that open on a click."""

    template: ClassVar[str] = "folded.html.jinja"
    title: str
    rows: Mapping[str, object]


@dataclass(frozen=True)
class Query:
    """A text with the nearest texts; the arguments are those of `Document.neighbours`."""

    template: ClassVar[str] = "query.html.jinja"
    text: str
    label: str
    columns: Sequence[tuple[str, Sequence[Neighbour]]]


Block = Text | Grid | Table | Tiles | Folded | Query


@dataclass(frozen=True)
class Section:
    """Blocks under a heading.

    Args:
        name: Its id; "" for what stands before the first heading.
        title: The heading.
        blocks: In their order.
    """

    name: str
    title: str
    blocks: list[Block] = field(default_factory=list["Block"])


def _are_numbers(cells: Sequence[object]) -> bool:
    numbers = [cell for cell in cells if cell is not None]
    return bool(numbers) and all(isinstance(cell, int | float) for cell in numbers)
