"""Versions of the libraries that decide a number."""

from __future__ import annotations

import platform
from importlib import metadata


def versions() -> dict[str, str]:
    """Versions of what decides a run's numbers."""
    names = ("textcl", "torch", "transformers", "accelerate", "datasets", "tokenizers", "numpy")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}
