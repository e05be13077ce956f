"""Altair, titles with text alternatives, and the specification of a chart in the house theme."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

from textcl.errors import UserError
from textcl.figures.theme import Mode, config

Spec = dict[str, Any]
"""A chart as Vega-Lite, which is JSON."""


Record = Mapping[str, str | float | None]
"""A row of the data of a chart."""


@runtime_checkable
class Chart(Protocol):
    """A chart of Altair."""

    def properties(self, **properties: object) -> Chart:
        """The chart with another title, size and the like."""
        ...

    def to_dict(self) -> Spec:
        """The chart as Vega-Lite."""
        ...


def altair() -> ModuleType:
    """The library that figures are made with.

    Raises:
        UserError: If the extra `report` is not installed.
    """
    return _extra("altair")


def require_charts() -> None:
    """Refuse, before any work is done for a figure, where it could not be drawn.

    Raises:
        UserError: If the extra `report` is not installed.
    """
    altair()
    vl_convert()


def vl_convert() -> ModuleType:
    """The library that turns a chart into PNG, SVG or a script, without a browser.

    Raises:
        UserError: If the extra `report` is not installed.
    """
    return _extra("vl_convert")


def _extra(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise UserError(
            "figures need Altair and vl-convert, which are not installed: pip install 'textcl-train[report]'"
        ) from None


def titled(chart: Chart, title: str, description: str, subtitle: str | None = None) -> Chart:
    """A chart with the words that belong to it.

    Args:
        chart: An Altair chart.
        title: What it shows.
        description: The same for those who do not see it: what is drawn and what follows from it. Becomes the text
            alternative of the figure.
        subtitle: Protocol, seeds, or how to read it.

    Returns:
        A new chart.
    """
    words = {"text": title, **({"subtitle": subtitle} if subtitle else {})}
    return chart.properties(title=words, description=description)


def specification(chart: Chart | Spec, mode: Mode = "light") -> Spec:
    """The Vega-Lite specification of a chart, in the house theme.

    Args:
        chart: An Altair chart, or a specification.
        mode: Light or dark.

    Returns:
        The specification; what its own `config` says stands over the theme.
    """
    spec = chart.to_dict() if isinstance(chart, Chart) else dict(chart)
    # Altair's default theme adds a view size; sizes of the house theme stand unless the chart has its own
    own = {name: value for name, value in spec.get("config", {}).items() if name != "view"}
    return {**spec, "config": {**config(mode), **own}}


def version(chart: Spec) -> str:
    """Vega-Lite version of a specification as vl-convert wants it, such as 6.4."""
    return ".".join(chart["$schema"].rsplit("/v", 1)[1].split(".")[:2])


def title(spec: Spec) -> str:
    """The title of a specification as plain text, empty if it has none."""
    words = spec.get("title", "")
    words = words.get("text", "") if isinstance(words, dict) else words
    return " ".join(words) if isinstance(words, list) else str(words)
