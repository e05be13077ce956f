"""`textcl recipes`: list, show and copy recipes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from textwrap import shorten
from typing import Annotated

import typer

EXAMPLES = """Examples:

textcl recipes

textcl recipes show unsup-simcse

textcl recipes copy unsup-simcse my_method.py
"""


class Action(StrEnum):
    """Action on recipes."""

    list = "list"
    show = "show"
    copy = "copy"


def recipes_command(
    action: Annotated[
        Action, typer.Argument(help="list, show or copy.", metavar="ACTION")
    ] = Action.list,
    name: Annotated[
        str, typer.Argument(help="Name of a recipe, or its file.", metavar="NAME")
    ] = "",
    target: Annotated[
        Path, typer.Argument(help="File or folder to copy it to.", metavar="TARGET")
    ] = Path(),
) -> None:
    """List the recipes, show one, or copy one to change it."""
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


_ROWS: dict[tuple[str, ...], str] = {
    ("text",): "sentences",
    ("anchor", "positive"): "pairs",
    ("anchor", "positive", "negative"): "triplets",
    ("sentence1", "sentence2", "score"): "graded pairs",
    ("anchor", "positive", "negative", "scores"): "triplets with scores",
    ("text", "label|labels"): "texts with classes",
    ("text", "label"): "names of concepts",
    ("text", "vector"): "texts with vectors",
}
"""Kinds of data, by the columns that a recipe trains on."""


def _list() -> None:
    """Recipes by what one has, one line each."""
    from textcl.terminal import TextConsole
    from textcl.training import recipes as recipe

    console = TextConsole()
    groups: dict[tuple[str, tuple[str, ...]], list[recipe.Recipe]] = {}
    for each in map(recipe.find, recipe.names()):
        group = each.rows or _ROWS.get(each.roles, "rows"), each.roles
        groups.setdefault(group, []).append(each)
    width = max(len(name) for name in recipe.names()) + 2
    known = list(_ROWS)
    for (rows, roles), group in sorted(
        groups.items(),
        key=lambda item: known.index(item[0][1]) if item[0][1] in known else len(known),
    ):
        columns = ", ".join(roles).replace("|", " or ")
        console.print(f"[bold]{rows}[/] (columns {columns})", highlight=False)
        for one in group:
            summary = shorten(one.summary, max(20, console.width - width - 2), placeholder=" …")
            console.print(f"  {one.name:{width}}{summary}", highlight=False, markup=False)
        console.print()
    console.print("textcl recipes show NAME: its method and its settings", highlight=False)


def _show(name: str) -> None:
    from rich.table import Table

    from textcl.terminal import TextConsole, reflowed
    from textcl.training import recipes as recipe
    from textcl.training.settings import as_mapping

    chosen, console = recipe.find(name), TextConsole()
    console.print(reflowed(chosen.doc), highlight=False, markup=False)
    table = Table("setting", "default", box=None, pad_edge=False)
    for key, value in as_mapping(chosen.settings()).items():
        table.add_row(key, str(value))
    console.print()
    console.print(table)
    for model, preset in chosen.presets.items():
        values = ", ".join(f"{key}={value}" for key, value in preset.items())
        console.print(f"\nwith --model {model}: {values}", highlight=False, markup=False)
