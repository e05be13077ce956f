"""Versions of the libraries that decide a number."""

from __future__ import annotations

import platform
from importlib import metadata


def versions() -> dict[str, str]:
    """Versions of what decides a run's numbers."""
    names = ("torch", "transformers", "accelerate", "datasets", "tokenizers", "numpy")
    libraries = {name: metadata.version(name) for name in names}
    return {"python": platform.python_version(), "textcl": own_version(), **libraries}


def own_version() -> str:
    """The version of the distribution `textcl-train`, or "unknown" in a checkout that is not installed."""
    try:
        return metadata.version("textcl-train")
    except metadata.PackageNotFoundError:
        return "unknown"
