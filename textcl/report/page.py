"""The page of a report: sections of tables, figures and sentences, which templates turn into HTML."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from textcl.figures import html
from textcl.figures.cards import Card, Size
from textcl.figures.charts import specification
from textcl.figures.pages import render
from textcl.report.blocks import (
    Block,
    Figure,
    Folded,
    Grid,
    Neighbour,
    Query,
    Section,
    Table,
    Text,
    Tile,
    Tiles,
)


class Document:
    """Collects the parts of a report in their order.

    Args:
        title: Of the page.
        lead: One sentence below it.
    """

    def __init__(self, title: str, lead: str) -> None:
        self.title, self.lead = title, lead
        self.figures: list[Figure] = []
        self.left_out: list[str] = []
        self._sections = [Section("", "")]

    def section(self, name: str, title: str, lead: str = "") -> None:
        """Begin a section.

        Args:
            name: Its id.
            title: Its heading.
            lead: A sentence below it.
        """
        self._sections.append(Section(name, title))
        if lead:
            self.text(lead)

    def text(self, text: str, kind: str = "lead") -> None:
        """A paragraph."""
        self._add(Text(text, kind))

    def missing(self, text: str) -> None:
        """A sentence in the place of something that is left out."""
        self.text(text, "missing")

    def figure(self, name: str, chart: Any, size: Size = "") -> None:
        """A figure; several in a row share a grid.

        Args:
            name: Its id.
            chart: A titled Altair chart.
            size: "wide" takes the whole width, "tall" two rows, "half" stands in a grid of two columns.
        """
        self.figures.append(Figure(name, chart))
        blocks = self._sections[-1].blocks
        last = blocks[-1] if blocks else None
        grid = last if isinstance(last, Grid) else Grid()
        if grid is not last:
            self._add(grid)
        grid.cards.append(Card.of(name, chart, size))

    def table(
        self,
        caption: str,
        header: Sequence[str],
        rows: Sequence[Sequence[Any]],
        *,
        note: str = "",
        quiet: Sequence[int] = (),
    ) -> None:
        """A table; numbers are aligned, and None is a dash.

        Args:
            caption: What it shows.
            header: Names of the columns.
            rows: Cells; the first of each row is its heading.
            note: A sentence below it.
            quiet: Rows in a softer colour, such as those of others.
        """
        self._add(Table(caption, header, rows, quiet))
        if note:
            self.text(note, "note")

    def tiles(self, tiles: Sequence[Tile]) -> None:
        """Key numbers; one that got worse is marked in colour and in words."""
        self._add(Tiles(tiles))

    def folded(self, title: str, rows: Mapping[str, Any]) -> None:
        """Names and values that open on a click."""
        self._add(Folded(title, rows))

    def neighbours(
        self, query: str, label: str, columns: Sequence[tuple[str, Sequence[Neighbour]]]
    ) -> None:
        """The nearest texts of one text, for each model.

        Args:
            query: The text.
            label: Its label, "" without.
            columns: The name of each model, and its neighbours.
        """
        self._add(Query(query, label, columns))

    def render(self) -> str:
        """The whole page."""
        spec = specification(self.figures[0].chart) if self.figures else None
        return render(
            "textcl.report",
            "report.html.jinja",
            title=self.title,
            lead=self.lead,
            sections=self._sections,
            plain=plain,
            policy=Markup(html.policy(spec)),
            scripts=Markup(html.scripts(spec)) if spec else "",
        )

    def _add(self, block: Block) -> None:
        self._sections[-1].blocks.append(block)


def plain(value: object) -> str:
    """A value as a reader wants it: two decimals, thousands apart, a dash for nothing."""
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        size = abs(value)
        text = f"{value:.2f}" if size >= 10 else f"{value:.3f}" if size >= 0.01 else f"{value:.3g}"
        return text.replace("-", "−", 1) if value < 0 else text
    if isinstance(value, list | tuple):
        return ", ".join(plain(each) for each in value) or "none"
    return str(value)


def slug(text: str) -> str:
    """Letters, digits and dashes of a text, for ids and file names."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "run"
