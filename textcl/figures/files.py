"""A chart as a file."""

from __future__ import annotations

from html import escape
from pathlib import Path

from textcl.data.files import atomic_write
from textcl.errors import UserError
from textcl.figures import html as page
from textcl.figures.charts import Chart, Spec, specification, title, version, vl_convert
from textcl.figures.theme import Mode

WIDTH = 560
"""Pixels of a plot in a PNG or SVG that is as wide as its place on a page."""


def save(chart: Chart | Spec, path: Path | str, *, mode: Mode = "light") -> None:
    """Write a chart whole or not at all; the ending of the name says how.

    Args:
        chart: An Altair chart, or a Vega-Lite specification.
        path: A `.png` (twice the pixels of its size), a `.svg`, or a `.html` that opens offline, answers to the pointer
            and follows the reader's light or dark.
        mode: Light or dark, for PNG and SVG.

    Raises:
        UserError: If the ending is another one, or the extra `report` is not installed.
    """
    path = Path(path)
    spec = specification(chart, mode)
    if spec.get("width") == "container" and path.suffix.lower() != ".html":
        spec["width"] = WIDTH
    match path.suffix.lower():
        case ".png":
            content = vl_convert().vegalite_to_png(spec, version(spec), scale=2)
        case ".svg":
            content = svg(spec).encode()
        case ".html":
            content = page.single(chart).encode()
        case other:
            raise UserError(
                f"cannot write a figure as {other or 'a file without an ending'} ({path}): "
                "name a .png, .svg or .html file"
            )
    with atomic_write(path) as file:
        file.write(content)


def svg(spec: Spec) -> str:
    """A specification as SVG, with its title and text alternative as the picture's own.

    Args:
        spec: What `specification` gives.
    """
    drawn = vl_convert().vegalite_to_svg(spec, version(spec))
    words = "".join(
        f"<{name}>{escape(text)}</{name}>"
        for name, text in (("title", title(spec)), ("desc", spec.get("description", "")))
        if text
    )
    return drawn.replace("<svg ", '<svg role="img" ', 1).replace(">", f">{words}", 1)
