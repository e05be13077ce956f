"""`textcl recipes`: list, show and copy recipes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = """Examples:

textcl recipes

textcl recipes show unsup-simcse

textcl recipes copy unsup-simcse my_method.py
"""


class Action(StrEnum):
    """What to do."""

    list = "list"
    show = "show"
    copy = "copy"


def recipes_command(
    action: Annotated[Action, typer.Argument(help="What to do.")] = Action.list,
    name: Annotated[str, typer.Argument(help="Name of a recipe, or its file.")] = "",
    target: Annotated[Path, typer.Argument(help="File or folder to copy it to.")] = Path(),
) -> None:
    """List the recipes, show the method section and settings of one, or copy it to change it."""
    from textcl.errors import UserError
    from textcl.training import recipes as recipe

    if action is Action.list:
        _list()
        return
    if not name:
        raise UserError(f"which recipe? textcl recipes {action.value} NAME")
    if action is Action.show:
        _show(name)
    else:
        copied = recipe.copy(name, target)
        typer.echo(f"copied to {copied}; train it with --recipe {copied}")


def _list() -> None:
    from rich.console import Console
    from rich.table import Table

    from textcl.training import recipes as recipe

    table = Table("recipe", "what it is", "columns", box=None, pad_edge=False)
    for name in recipe.names():
        found = recipe.find(name)
        table.add_row(name, found.summary, ", ".join(found.roles))
    Console().print(table)


def _show(name: str) -> None:
    from rich.console import Console
    from rich.table import Table

    from textcl.training import recipes as recipe
    from textcl.training.settings import as_mapping

    found, console = recipe.find(name), Console()
    console.print(found.doc.strip(), highlight=False, markup=False)
    table = Table("setting", "default", box=None, pad_edge=False)
    for key, value in as_mapping(found.settings()).items():
        table.add_row(key, str(value))
    console.print()
    console.print(table)
    for model, preset in found.presets.items():
        values = ", ".join(f"{key}={value}" for key, value in preset.items())
        console.print(f"\nwith --model {model}: {values}", highlight=False, markup=False)
