"""Places of the files that travel with the package: in a wheel inside it, in a checkout beside it."""

from __future__ import annotations

from pathlib import Path

from textcl.errors import RunError

_PACKAGE = Path(__file__).parent


def recipes_dir() -> Path:
    """The folder of the recipes that come with textcl."""
    return _first(_PACKAGE / "_recipes", _PACKAGE.parent / "recipes")


def tasks_dir() -> Path:
    """The folder of the benchmark manifests."""
    return _first(_PACKAGE / "_eval" / "tasks", _PACKAGE.parent / "eval" / "tasks")


def published_path() -> Path:
    """The file of published scores."""
    return _first(_PACKAGE / "_eval" / "published.json", _PACKAGE.parent / "eval/published.json")


def sample_dir() -> Path:
    """The folder of the smoke data set that comes with textcl."""
    return _first(_PACKAGE / "sample")


def _first(*places: Path) -> Path:
    for place in places:
        if place.exists():
            return place
    raise RunError(
        f"the installation of textcl is incomplete: {places[0]} is missing; reinstall it"
    )
