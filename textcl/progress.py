"""A progress bar on standard error, for work that is counted in rows."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def progress(
    doing: str,
    unit: str,
    *,
    total: int | None = None,
    show: bool = True,
    console: Console | None = None,
) -> Generator[Callable[[int], None]]:
    """Show a bar while the block runs.

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
    from rich.console import Console
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
    console = console or Console(stderr=True)
    with Progress(*columns, console=console, transient=total is None) as bar:
        task = bar.add_task(doing, total=total, speed=0.0)

        def advance(rows: int) -> None:
            done = bar.tasks[0].completed + rows
            bar.update(task, completed=done, speed=done / (bar.tasks[0].elapsed or 1e-9))

        yield advance
