"""Subjects of the generated pages: recipes, public names, the place of the repository on the web."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import textcl
from textcl.training import recipes

ROOT = Path(__file__).resolve().parents[2]
WEB = "https://github.com/textcl/textcl"


def recipe_names() -> list[str]:
    """The recipes that come with textcl."""
    return sorted(path.stem.replace("_", "-") for path in (ROOT / "recipes").glob("[!_]*.py"))


def find_recipe(name: str) -> Any:
    """A recipe by name."""
    return recipes.find(name)


def public_names() -> list[str]:
    """The names that `import textcl` offers, each loaded when it is first used."""
    return sorted(name for name in dir(textcl) if not name.startswith("_"))


def module_of(value: Any) -> str:
    """The module that a public name was made in; empty for a module."""
    return "" if inspect.ismodule(value) else getattr(value, "__module__", "") or ""
