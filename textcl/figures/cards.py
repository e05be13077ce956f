"""Figures in a frame of a page: the title above it in the page's own type, and a text alternative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from textcl.figures import html
from textcl.figures.charts import Chart, specification, title

Size = Literal["", "wide", "tall", "half"]

MARKS = 3000
"""Marks up to which a figure is drawn as SVG, which stays sharp; a browser draws more of them faster as pixels."""


@dataclass(frozen=True)
class Card:
    """A figure in its frame, for the macro `figure_card`.

    Args:
        name: Its id.
        title: Its heading.
        subtitle: A line below it, "" without.
        description: What it shows, for those who do not see it.
        drawn: The element that is drawn into.
        size: "wide" takes the whole width, "tall" two rows, "half" stands in a grid of two columns.
    """

    name: str
    title: str
    subtitle: str
    description: str
    drawn: Markup
    size: Size

    @classmethod
    def of(cls, name: str, chart: Chart, size: Size = "") -> Card:
        """The card of a titled chart.

        Args:
            name: Its id.
            chart: The chart.
            size: As of the card.
        """
        spec = specification(chart)
        words = spec.get("title", {})
        inside = {key: value for key, value in spec.items() if key != "title"}
        height = spec.get("height", 260)
        drawn = html.figure(
            f"figure-{name}",
            inside,
            height=height + 40 if isinstance(height, int) else 320,
            renderer="canvas" if _marks(spec) > MARKS else "svg",
        )
        return cls(
            name=name,
            title=title(spec),
            subtitle=words.get("subtitle", "") if isinstance(words, dict) else "",
            description=spec.get("description", ""),
            drawn=Markup(drawn),
            size=size,
        )


def _marks(spec: Any) -> int:
    """Rows of data in a specification."""
    if isinstance(spec, list):
        return sum(map(_marks, spec))
    if not isinstance(spec, dict):
        return 0
    own = spec.get("values")
    rows = len(own) if isinstance(own, list) and own and isinstance(own[0], dict) else 0
    return rows + sum(_marks(value) for key, value in spec.items() if key != "values")
