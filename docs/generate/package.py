"""What there is to describe: recipes, public names, the place of the repository on the web."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import textcl

ROOT = Path(__file__).resolve().parents[2]
WEB = "https://github.com/textcl/textcl"


def recipe_names() -> list[str]:
    """The recipes that come with textcl."""
    return sorted(path.stem.replace("_", "-") for path in (ROOT / "recipes").glob("[!_]*.py"))


def find_recipe(name: str) -> Any:
    """A recipe by name."""
    try:
        from textcl.training import recipes as module
    except ImportError:
        from textcl import recipe as module

    return module.find(name)


def public_names() -> list[str]:
    """The names that `import textcl` offers, without modules and what the module itself imports."""
    names = getattr(textcl, "__all__", None) or [n for n in dir(textcl) if not n.startswith("_")]
    found = {name: getattr(textcl, name) for name in names}
    return sorted(n for n, value in found.items() if module_of(value).startswith("textcl."))


def module_of(value: Any) -> str:
    """The module that a public name was made in; empty for a module."""
    return "" if inspect.ismodule(value) else getattr(value, "__module__", "") or ""
