"""A run that `--overwrite` replaces: set aside until the new one has saved something, and put back if it never does."""

from __future__ import annotations

import shutil
from pathlib import Path


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.replaced")


def set_aside(path: Path, has_saved: bool) -> None:
    """Free the name of a run without removing the run.

    Args:
        path: The run.
        has_saved: Whether there is anything in it. A run that was killed before it saved anything is removed, and what
            it would have replaced stays aside.
    """
    aside = _aside(path)
    if aside.exists() and not has_saved:
        shutil.rmtree(path)
        return
    remove(path)
    path.rename(aside)


def remove(path: Path) -> None:
    """Remove what was set aside for the run in `path`."""
    shutil.rmtree(_aside(path), ignore_errors=True)


def put_back(path: Path) -> None:
    """Put what was set aside in the place of the run in `path`, which saved nothing."""
    aside = _aside(path)
    if aside.exists():
        shutil.rmtree(path, ignore_errors=True)
        aside.rename(path)
