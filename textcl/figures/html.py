"""Figures inside an HTML page: the script once, compressed; the data beside it; and nothing from the network.

A page carries a content security policy that allows the two scripts written here, by their hash, and no connection at
all: whatever stands in the user's texts can neither run nor call out. The figures are drawn by Vega's expression
interpreter, so the policy needs no `unsafe-eval`.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from html import escape

from textcl.figures.charts import Chart, Spec, specification, title, version, vl_convert
from textcl.figures.theme import config

_DRAW = """
const dark = matchMedia('(prefers-color-scheme: dark)');
const read = id => JSON.parse(document.getElementById(id).textContent);
const views = new Map();
async function draw(place) {
  const spec = read(place.dataset.figure), theme = read('themes')[dark.matches ? 'dark' : 'light'];
  const result = await vegaEmbed(place, spec, {
    config: theme, ast: true, renderer: place.dataset.renderer,
    actions: {export: true, source: false, compiled: false, editor: false},
    downloadFileName: place.dataset.figure, tooltip: {theme: dark.matches ? 'dark' : 'light'},
  });
  views.get(place)?.finalize();
  views.set(place, result);
  place.style.minHeight = 0;
  place.dataset.drawn = 'yes';
}
function failed(place, error) { place.textContent = 'This figure could not be drawn: ' + error.message; }
function drawAll() {
  for (const place of document.querySelectorAll('[data-figure]')) draw(place).catch(e => failed(place, e));
}
async function start() {
  const packed = Uint8Array.from(atob(document.getElementById('vega').textContent), c => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
  const script = document.createElement('script');
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  drawAll();
  dark.addEventListener('change', drawAll);
}
start().catch(e => document.querySelectorAll('[data-figure]').forEach(place => failed(place, e)));
"""


def figure(name: str, chart: Chart | Spec, *, height: int = 260, renderer: str = "svg") -> str:
    """The HTML of a figure, for a page with `scripts`.

    Args:
        name: Id of its data; letters, digits and dashes.
        chart: An Altair chart or specification. One with `width="container"` is as wide as the page lets it be.
        height: Room to keep free before it is drawn, in pixels.
        renderer: `svg`, or `canvas` for thousands of marks.
    """
    spec = specification(chart)
    del spec["config"]  # the page has both themes, once
    return (
        f'<div class="chart" data-figure="{name}" data-renderer="{renderer}" '
        f'style="min-height:{height}px"></div>\n'
        f'<script type="application/json" id="{name}">{as_json(spec)}</script>\n'
    )


def scripts(spec: Spec) -> str:
    """Scripts that draw the figures; they go at the end of the page.

    Args:
        spec: A specification of the page; tells the version of Vega-Lite.
    """
    themes = {
        mode: {**config(mode), "background": "transparent", "padding": 2}
        for mode in ("light", "dark")
    }
    packed = base64.b64encode(gzip.compress(_bundle(version(spec)).encode(), 9, mtime=0)).decode()
    return (
        f'<script type="application/json" id="themes">{as_json(themes)}</script>\n'
        f'<script type="text/plain" id="vega">{packed}</script>\n'
        f"<script>{_DRAW}</script>\n"
    )


def policy(spec: Spec | None, more: Sequence[str] = ()) -> str:
    """The content security policy of a page, as a meta element; goes first into its head.

    Args:
        spec: A specification of the page, or nothing for a page without figures.
        more: Further scripts of the page, each as it stands in its element.
    """
    allowed = [_DRAW, _bundle(version(spec)), *more] if spec else [*more]
    hashes = " ".join(f"'sha256-{_hash(script)}'" for script in allowed) or "'none'"
    rules = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:"
    )
    return f'<meta http-equiv="Content-Security-Policy" content="{rules}">'


def as_json(value: object) -> str:
    """JSON that can stand inside a script element: no text in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def single(chart: Chart | Spec) -> str:
    """A whole page with one figure."""
    spec = specification(chart)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{policy(spec)}\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title(spec)) or 'Figure'}</title>\n"
        "<style>body{margin:1rem;color-scheme:light dark}.chart{width:100%}</style>\n"
        f"</head>\n<body>\n{figure('figure', spec)}{scripts(spec)}</body>\n</html>\n"
    )


@cache
def _bundle(vega_lite: str) -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    return vl_convert().javascript_bundle("window.vegaEmbed = vegaEmbed;", vega_lite)


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
