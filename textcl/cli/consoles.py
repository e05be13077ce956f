"""Consoles and tables of the commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_PIPE_WIDTH = 120
"""Columns of a table that is written to a file or a pipe, where there is room for long names."""


def log_console(*, quiet: bool = False) -> Console:
    """Standard error, for what is not a result."""
    from textcl.terminal import TextConsole

    return TextConsole(stderr=True, soft_wrap=True, highlight=False, markup=False, quiet=quiet)


def plain_console() -> Console:
    """Standard output, for lines of text that are a result."""
    from textcl.terminal import TextConsole

    return TextConsole(soft_wrap=True, highlight=False, markup=False)


def result_console() -> Console:
    """Standard output, wide enough for long names where it is a file or a pipe."""
    from textcl.terminal import TextConsole

    console = TextConsole()
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def result_table(*columns: str, left: int = 1) -> Table:
    """A table of results.

    Args:
        columns: The heads.
        left: The first so many columns hold names, the others numbers.
    """
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for place, name in enumerate(columns):
        table.add_column(escape(name), justify="left" if place < left else "right", overflow="fold")
    return table
