"""`textcl recipes`: list, show and copy recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

recipes_app = typer.Typer(help="List, show and copy recipes.", no_args_is_help=False)


@recipes_app.callback(invoke_without_command=True)
def default(context: typer.Context) -> None:
    """List the recipes where no subcommand is given."""
    if context.invoked_subcommand is None:
        list_recipes()


@recipes_app.command("list")
def list_recipes() -> None:
    """One line a recipe."""
    from textcl import recipe

    table = Table("recipe", "what it is", "columns", box=None, pad_edge=False)
    for name in recipe.names():
        found = recipe.find(name)
        table.add_row(name, found.summary, ", ".join(found.roles))
    Console().print(table)


@recipes_app.command("show", epilog="Example: textcl recipes show unsup-simcse")
def show(name: Annotated[str, typer.Argument(help="Name of a recipe, or its file.")]) -> None:
    """The method section, settings and presets of a recipe."""
    from textcl import recipe
    from textcl.settings import as_mapping

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


@recipes_app.command("copy", epilog="Example: textcl recipes copy unsup-simcse my_method.py")
def copy(
    name: Annotated[str, typer.Argument(help="Name of a recipe.")],
    target: Annotated[Path, typer.Argument(help="File or folder to copy it to.")] = Path(),
) -> None:
    """Copy a recipe to change it; train it with --recipe FILE.py."""
    from textcl import recipe

    typer.echo(f"copied to {recipe.copy(name, target)}")
