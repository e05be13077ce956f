"""Versions of the libraries that decide a number."""

from __future__ import annotations

import platform
from functools import cache
from importlib import metadata


def versions() -> dict[str, str]:
    """Versions of what decides a run's numbers."""
    names = ("torch", "transformers", "accelerate", "datasets", "tokenizers", "numpy")
    libraries = {name: version_of(name) for name in names}
    return {"python": platform.python_version(), "textcl": own_version(), **libraries}


@cache
def version_of(name: str) -> str:
    """The version of an installed distribution, whose metadata the library would parse anew at every call.

    Raises:
        PackageNotFoundError: If it is not installed.
    """
    return metadata.version(name)


def own_version() -> str:
    """The version of the distribution `textcl-train`, or "unknown" in a checkout that is not installed."""
    try:
        return version_of("textcl-train")
    except metadata.PackageNotFoundError:
        return "unknown"
