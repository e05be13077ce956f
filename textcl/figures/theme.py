"""The house theme: colours, type and lines of every figure, in light and dark."""

from __future__ import annotations

from typing import Literal

Mode = Literal["light", "dark"]

FONT = "system-ui, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"

# Okabe and Ito (2008), ordered by contrast with the paper. Their yellow is left out on white and their blue on black,
# where they can hardly be seen; the grey at the end is for what is not in focus.
_LIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5B4B8A", "#7A7A7A")
_DARK = ("#56B4E9", "#F0833A", "#2BC49A", "#E39BC4", "#E6B84D", "#9AA7F2", "#F0E442", "#9A9A9A")

# One hue from paper to ink for counts and time; blue against orange around a middle.
_LIGHT_RAMP = ("#DCEAF4", "#9CC8E3", "#4E9CC9", "#0072B2", "#00507D", "#002F4A")
_DARK_RAMP = ("#1B2A35", "#23506B", "#2F7FA8", "#56B4E9", "#9AD3F3", "#DDF1FC")
_LIGHT_DIVERGING = ("#0072B2", "#8FBFDD", "#F2F2F2", "#EDA87C", "#D55E00")
_DARK_DIVERGING = ("#56B4E9", "#2F5F7C", "#2A2E36", "#8A5230", "#F0833A")

PAPER: dict[Mode, str] = {"light": "#FFFFFF", "dark": "#15181D"}
"""Background of a figure that stands alone."""


def config(mode: Mode = "light") -> dict[str, object]:
    """Configuration of Vega-Lite.

    Args:
        mode: Dark ink on white, or light ink on near-black.

    Returns:
        What goes into the `config` of a specification.
    """
    light = mode == "light"
    ink, soft = ("#1B1F24", "#57606A") if light else ("#E8EAED", "#A3ABB5")
    line, grid = ("#AFB8C1", "#E7EAEE") if light else ("#4A525C", "#2A2F37")
    series = list(_LIGHT if light else _DARK)
    ramp = list(_LIGHT_RAMP if light else _DARK_RAMP)
    diverging = list(_LIGHT_DIVERGING if light else _DARK_DIVERGING)
    text = {"labelColor": soft, "titleColor": soft, "labelFontSize": 11, "titleFontSize": 12}
    return {
        "background": PAPER[mode],
        "font": FONT,
        "padding": 8,
        "view": {"stroke": None, "continuousWidth": 460, "continuousHeight": 260},
        "title": {
            "anchor": "start",
            "frame": "group",
            "color": ink,
            "fontSize": 15,
            "fontWeight": 600,
            "subtitleColor": soft,
            "subtitleFontSize": 12,
            "subtitlePadding": 4,
            "offset": 12,
        },
        "axis": {
            **text,
            "domainColor": line,
            "gridColor": grid,
            "tickColor": line,
            "tickSize": 4,
            "titleFontWeight": "normal",
            "titlePadding": 8,
            "labelLimit": 220,
        },
        # labels keep a distance and stay under their ticks: flushed ones would touch their neighbours
        "axisX": {"labelFlush": False, "labelOverlap": "greedy", "labelSeparation": 8},
        "axisY": {
            "domain": False,
            "ticks": False,
            "labelPadding": 6,
            "labelOverlap": "greedy",
            "labelSeparation": 4,
        },
        "legend": {
            **text,
            "titleFontWeight": "normal",
            "orient": "top",
            "direction": "horizontal",
            "symbolStrokeWidth": 2,
            "labelLimit": 240,
            "offset": 6,
        },
        "header": {"labelColor": ink, "titleColor": soft},
        "range": {
            "category": series,
            "ordinal": ramp,
            "ramp": ramp,
            "heatmap": ramp,
            "diverging": diverging,
        },
        "mark": {"color": series[0]},
        "line": {"strokeWidth": 2, "strokeCap": "round", "strokeJoin": "round"},
        "point": {"filled": True, "size": 50},
        "circle": {"size": 40},
        "area": {"line": True, "fillOpacity": 0.35},
        "rule": {"color": line},
        "text": {"color": ink, "fontSize": 11},
    }
