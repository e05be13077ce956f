"""A progress bar on standard error, for work that is counted in rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

EVERY_SECONDS = 10.0
"""Time between two lines of progress where there is no terminal."""


@contextmanager
def progress(
    doing: str,
    unit: str,
    *,
    total: int | None = None,
    show: bool = True,
    console: Console | None = None,
) -> Generator[Callable[[int], None]]:
    """Show a bar while the block runs; where there is no terminal, a line every ten seconds.

    Args:
        doing: Word in front of the bar, such as "encoding".
        unit: What is counted, such as "texts".
        total: Number of rows; None if it is unknown.
        show: Whether anything is shown.
        console: Where to; standard error when None.

    Yields:
        A function to call with the number of rows done since the last call.
    """
    if not show:
        yield lambda rows: None
        return
    from textcl.terminal import TextConsole

    console = console or TextConsole(stderr=True)
    if not console.is_terminal:
        yield _Lines(console, doing, unit, total).advance
        return
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    of_all = "" if total is None else f"/{total:,}"
    columns = (
        SpinnerColumn() if total is None else BarColumn(),
        TextColumn(f"{doing}: {{task.completed:,.0f}}{of_all} {unit}"),
        TextColumn(f"{{task.fields[speed]:,.0f}} {unit}/s"),
        TimeElapsedColumn() if total is None else TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=total is None) as bar:
        task = bar.add_task(doing, total=total, speed=0.0)

        def advance(rows: int) -> None:
            done = bar.tasks[0].completed + rows
            bar.update(task, completed=done, speed=done / (bar.tasks[0].elapsed or 1e-9))

        yield advance


class _Lines:
    """A line of progress every ten seconds, for the log of a batch job."""

    def __init__(self, console: Console, doing: str, unit: str, total: int | None) -> None:
        self.console, self.doing, self.unit, self.total = console, doing, unit, total
        self.done = 0
        self.start = self.shown = time.monotonic()

    def advance(self, rows: int) -> None:
        self.done += rows
        now = time.monotonic()
        if now - self.shown < EVERY_SECONDS:
            return
        self.shown = now
        speed = self.done / (now - self.start)
        of_all = left = ""
        if self.total is not None:
            of_all = f"/{self.total:,}"
            minutes = max(self.total - self.done, 0) / max(speed, 1e-9) / 60
            left = f", {minutes:,.0f} min left" if minutes >= 1 else ", under a minute left"
        line = f"{self.doing}: {self.done:,}{of_all} {self.unit}, {speed:,.0f} {self.unit}/s{left}"
        self.console.print(line)
