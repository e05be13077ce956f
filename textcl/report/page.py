"""The page of a report: sections, tables, figures and sentences, everything of the user's escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any, Literal, NamedTuple

from textcl.figures import html as page
from textcl.figures.charts import specification
from textcl.figures.charts import title as title_of

MARKS = 3000
"""Marks up to which a figure is drawn as SVG, which stays sharp; a browser draws more of them faster as pixels."""

Size = Literal["", "wide", "tall", "half"]


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
        self._parts: list[str] = []
        self._sections: list[tuple[str, str]] = []
        self._grid: list[str] = []

    def section(self, name: str, title: str, lead: str = "") -> None:
        """Begin a section.

        Args:
            name: Its id.
            title: Its heading.
            lead: A sentence below it.
        """
        self._close_grid()
        if self._sections:
            self._parts.append("</section>")
        self._sections.append((name, title))
        self._parts.append(f'<section id="{name}" aria-labelledby="{name}-title">')
        self._parts.append(f'<h2 id="{name}-title">{escape(title)}</h2>')
        if lead:
            self.text(lead)

    def text(self, text: str, kind: str = "lead") -> None:
        """A paragraph."""
        self._close_grid()
        self._parts.append(f'<p class="{kind}">{escape(text)}</p>')

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
        spec = specification(chart)
        words = spec.get("title", {})
        subtitle = words.get("subtitle", "") if isinstance(words, dict) else ""
        title = title_of(spec)
        inside = {key: value for key, value in spec.items() if key != "title"}
        height = spec.get("height", 260)
        height = height + 40 if isinstance(height, int) else 320
        drawn = page.figure(
            f"figure-{name}",
            inside,
            height=height,
            renderer="canvas" if _marks(spec) > MARKS else "svg",
        )
        lines = [
            f'<figure class="card {size}" id="{name}">',
            f"<figcaption><h3>{escape(title)}</h3>",
            f"<p>{escape(subtitle)}</p>" if subtitle else "",
            f"</figcaption>{drawn}",
            f'<p class="hidden">{escape(spec.get("description", ""))}</p>',
            "</figure>",
        ]
        self._grid.append("".join(lines))

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
        self._close_grid()
        kinds = [_number_class([row[at] for row in rows]) for at in range(len(header))]
        head = "".join(
            f'<th scope="col"{kind}>{escape(name)}</th>'
            for name, kind in zip(header, kinds, strict=True)
        )
        body = "".join(
            f"<tr{' class=quiet' if at in quiet else ''}>{_cells(row, kinds)}</tr>"
            for at, row in enumerate(rows)
        )
        self._parts.append(
            f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
            f"<caption><span>{escape(caption)}</span></caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )
        if note:
            self.text(note, "note")

    def tiles(self, tiles: Sequence[Tile]) -> None:
        """Key numbers; one that got worse has another colour, and says so."""
        self._close_grid()
        shown = "".join(
            f"<div{' class=worse' * tile.worse}><dt>{escape(tile.name)}</dt><dd><b>{escape(tile.value)}</b>"
            f"<span>{'<em>worse</em> · ' * tile.worse}{escape(tile.words)}</span></dd></div>"
            for tile in tiles
        )
        self._parts.append(f'<dl class="tiles">{shown}</dl>')

    def folded(self, title: str, rows: Mapping[str, Any]) -> None:
        """Names and values that open on a click."""
        self._close_grid()
        shown = "".join(
            f"<tr><th scope=row>{escape(key)}</th><td><code>{escape(_plain(value))}</code></td></tr>"
            for key, value in rows.items()
        )
        self._parts.append(
            f"<details><summary>{escape(title)}</summary><div class=scroll><table>"
            f"<caption><span>{escape(title)}</span></caption><tbody>{shown}</tbody></table></div></details>"
        )

    def neighbours(
        self, query: str, label: str, columns: Sequence[tuple[str, Sequence[Neighbour]]]
    ) -> None:
        """The nearest texts of one text, for each model.

        Args:
            query: The text.
            label: Its label, "" without.
            columns: For each model its name and what it finds.
        """
        self._close_grid()
        lists = "".join(
            f"<div><h4>{escape(name)}</h4><ol>{''.join(_item(each, label) for each in found)}</ol></div>"
            for name, found in columns
        )
        self._parts.append(
            f'<article class="card query"><h3>{escape(query)}{_chip(label)}</h3>'
            f'<div class="columns">{lists}</div></article>'
        )

    def render(self) -> str:
        """The whole page."""
        self._close_grid()
        if self._sections:
            self._parts.append("</section>")
        spec = specification(self.figures[0].chart) if self.figures else None
        links = "".join(f'<a href="#{name}">{escape(title)}</a>' for name, title in self._sections)
        style = resources.files("textcl.report").joinpath("report.css").read_text("utf-8")
        return (
            f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{page.policy(spec)}\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n'
            f"<title>{escape(self.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
            f'<header><h1>{escape(self.title)}</h1><p class="lead">{escape(self.lead)}</p>'
            f'<nav aria-label="Sections">{links}</nav></header>\n<main>\n'
            + (
                "<noscript><p class=missing>The figures need JavaScript; all numbers are in the tables.</p></noscript>"
            )
            + "\n".join(self._parts)
            + "\n</main>\n"
            + (page.scripts(spec) if spec else "")
            + "</body>\n</html>\n"
        )

    def _close_grid(self) -> None:
        if self._grid:
            pairs = all('class="card half"' in part for part in self._grid)
            kind = "grid pairs" if pairs else "grid"
            self._parts.append(f'<div class="{kind}">{"".join(self._grid)}</div>')
            self._grid = []


def _marks(spec: Any) -> int:
    """Rows of data in a specification."""
    if isinstance(spec, list):
        return sum(map(_marks, spec))
    if not isinstance(spec, dict):
        return 0
    own = spec.get("values")
    rows = len(own) if isinstance(own, list) and own and isinstance(own[0], dict) else 0
    return rows + sum(_marks(value) for key, value in spec.items() if key != "values")


def _item(near: Neighbour, label: str) -> str:
    same = bool(label) and near.label == label
    chips = _chip(f"= {near.label}" if same else near.label, same) + _chip("new" * near.new)
    return f"<li><span class=cosine>{near.cosine:.2f}</span> {escape(near.text)}{chips}</li>"


def _chip(text: str, strong: bool = False) -> str:
    return f' <span class="chip{" same" * strong}">{escape(text)}</span>' if text else ""


def _cells(row: Sequence[Any], kinds: Sequence[str]) -> str:
    first, *rest = row
    return f"<th scope=row>{escape(_plain(first))}</th>" + "".join(
        f"<td{kind}>{escape(_plain(cell))}</td>" for cell, kind in zip(rest, kinds[1:], strict=True)
    )


def _number_class(cells: Sequence[Any]) -> str:
    numbers = [cell for cell in cells if cell is not None]
    return " class=number" if numbers and all(isinstance(c, int | float) for c in numbers) else ""


def _plain(value: Any) -> str:
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
        return ", ".join(_plain(each) for each in value) or "none"
    return str(value)


def slug(text: str) -> str:
    """Letters, digits and dashes of a text, for ids and file names."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "run"
