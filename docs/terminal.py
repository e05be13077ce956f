"""Draws the first run of the README as a terminal shows it: `python docs/terminal.py` trains and writes quickstart.svg.

The run takes about a minute; its folder is a temporary one, shown under the name that the command gives it.
"""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

COMMAND = "textcl train --recipe quickstart --offline --output runs/first"
PICTURE = Path(__file__).parent / "quickstart.svg"
WIDTH = 118


class _Wrapping(Console):
    """A terminal, which wraps long lines; consoles of rich cut those that are printed with `soft_wrap`."""

    def print(self, *objects: Any, soft_wrap: bool | None = None, **options: Any) -> None:
        """Print without `soft_wrap`."""
        super().print(*objects, **options)


def main() -> None:
    """Train, and draw what was printed."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from textcl import train

    console = _Wrapping(record=True, width=WIDTH, file=io.StringIO(), color_system="truecolor")
    console.print(f"[bold green]$[/] {COMMAND}", highlight=False)
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            train("quickstart", output="runs/first", console=console)
        finally:
            os.chdir(here)
    console.save_svg(str(PICTURE), title="textcl", code_format=_FORMAT)


# Rich's own, without the fonts that it would load from the network.
_FORMAT = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
    <!-- Generated with Rich https://www.textualize.io -->
    <style>
    .{unique_id}-matrix {{
        font-family: ui-monospace, monospace, monospace;
        font-size: {char_height}px;
        line-height: {line_height}px;
        font-variant-east-asian: full-width;
    }}
    .{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: arial; }}
    {styles}
    </style>
    <defs>
    <clipPath id="{unique_id}-clip-terminal">
      <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
    </clipPath>
    {lines}
    </defs>
    {chrome}
    <g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
    {backgrounds}
    <g class="{unique_id}-matrix">
    {matrix}
    </g>
    </g>
</svg>
"""


if __name__ == "__main__":
    main()
