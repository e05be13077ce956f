"""Every command of the command line, with its options and examples."""

from __future__ import annotations

import inspect
import re
from enum import Enum
from typing import Any

import typer

from generate.markdown import table


def commands() -> str:
    """A section for each command of the command line: what it does, its options, examples."""
    from textcl.cli.app import app

    group: Any = typer.main.get_command(app)
    return "\n".join(_command(name, command) for name, command in group.commands.items())


def _command(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    usage = [_argument_name(p) if p.required else f"[{_argument_name(p)}]" for p in arguments]
    text, examples = _without_examples(inspect.cleandoc(command.help or ""))
    examples += _without_examples(inspect.cleandoc(command.epilog or ""))[1]
    call = " ".join(["textcl", name, *usage, "[OPTIONS]"])
    lines = [f"## `textcl {name}`", "", text, "", f"    {call}", ""]
    for title, parameters in (("argument", arguments), ("option", options)):
        if parameters:
            lines += table((title, "meaning"), [_parameter(p) for p in parameters])
    if examples:
        lines += ["Examples:", "", "```bash", *examples, "```", ""]
    return "\n".join(lines)


def _argument_name(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name).upper()


def _parameter(parameter: Any) -> tuple[str, str]:
    option = parameter.param_type_name == "option"
    names = sorted([*parameter.opts, *parameter.secondary_opts], key=len) if option else []
    shown = ", ".join(f"`{name}`" for name in names) or f"`{_argument_name(parameter)}`"
    notes = [parameter.help or "", _values(parameter)]
    default = parameter.default
    if parameter.required and option:
        notes.append("Required.")
    elif default not in (None, False, "", (), []) and not callable(default):
        notes.append(f"Default: `{default.value if isinstance(default, Enum) else default}`.")
    if getattr(parameter, "multiple", False) or parameter.nargs == -1:
        notes.append("May be given again." if option else "One or more.")
    return shown, " ".join(note for note in notes if note)


def _values(parameter: Any) -> str:
    """The choices that an option has, or that it is a number; nothing for a text or a switch."""
    described = getattr(parameter, "type_descriptor", None)
    kind = described.annotation if described else str
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "One of " + ", ".join(f"`{choice.value}`" for choice in kind) + "."
    return "A number." if kind in (int, float) and not getattr(parameter, "is_flag", False) else ""


def _without_examples(text: str) -> tuple[str, list[str]]:
    """Help text, and the example commands at its end, one each."""
    before, separator, after = text.partition("Examples:")
    if not separator:
        return text.strip(), []
    blocks = re.split(r"\n\s*\n|·", after)
    return before.strip(), [line for block in blocks if (line := " ".join(block.split()))]
