"""Every public name of the package, from its docstring."""

from __future__ import annotations

import importlib
import inspect
import re
import typing
from typing import Any

import textcl
from generate.markdown import docstring, markdown
from generate.package import ROOT, public_names
from textcl.training.domains import Values

_STUB = ROOT / "textcl" / "__init__.pyi"

# What most readers look for comes first; a wing that is not named follows.
_FIRST = ("training", "encoder", "classifier", "evaluation", "export", "objectives", "contrast")


def python() -> str:
    """Every public name of `textcl`, by the part of the package it lives in, with signature and docstring."""
    wings: dict[str, list[str]] = {}
    for name in public_names():
        wings.setdefault(_wing(name), []).append(name)
    lines: list[str] = []
    for wing in [*(w for w in _FIRST if w in wings), *sorted(wings.keys() - {*_FIRST})]:
        lines += [f"## {wing.replace('_', ' ').capitalize()}", "", _intro(wing), ""]
        for name in wings[wing]:
            lines += _python_entry(name, getattr(textcl, name))
    return "\n".join(lines)


def _intro(wing: str) -> str:
    """The first paragraph of a wing's docstring."""
    return docstring(importlib.import_module(f"textcl.{wing}")).split("\n\n")[0]


def _wing(name: str) -> str:
    """The part of the package that the stub of `textcl` takes a name from."""
    found = re.search(rf"^from \.(\w+)\S* import {name} as", _STUB.read_text(), re.MULTILINE)
    assert found, f"the stub has no {name}"
    return found[1]


def _python_entry(name: str, value: Any) -> list[str]:
    lines = [f"### `{name}`", ""]
    if inspect.isclass(value) or inspect.isfunction(value):
        if call := _signature(name, value):
            lines += ["```python", call, "```", ""]
        lines += [docstring(value), ""]
    elif typing.get_origin(value) is typing.Annotated:
        lines += [f"The annotation of a setting that is {markdown(str(Values.of(value)))}.", ""]
    else:
        lines += [f"A constant: {markdown(repr(value))}.", ""]
    if inspect.isclass(value):
        for method, function in _methods(value):
            call = _signature(method, function)
            lines += [
                f"#### `{name}.{method}`",
                "",
                "```python",
                call,
                "```",
                "",
                docstring(function),
                "",
            ]
    return lines


def _methods(kind: type) -> list[tuple[str, Any]]:
    """Public methods that the class describes, and those of its bases that have no entry of their own."""
    found: dict[str, Any] = {}
    for base in kind.__mro__:
        inner = base.__module__.startswith("textcl.") and not hasattr(textcl, base.__name__)
        for name, value in vars(base).items() if base is kind or inner else ():
            function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
            if not name.startswith("_") and inspect.isfunction(function) and function.__doc__:
                found.setdefault(name, function)
    return list(found.items())


class _Text:
    """An annotation or a default that is shown as it stands."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _signature(name: str, value: Any) -> str:
    """`name(arguments) -> result`, one argument a line where it is long."""
    if inspect.isclass(value) and issubclass(value, Exception):
        return ""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    shown = [_shown(p) for p in signature.parameters.values() if p.name not in ("self", "cls")]
    given = signature.return_annotation
    result = "" if given in (None, "None", signature.empty) else f" -> {_text(given)}"
    short = name + str(signature.replace(parameters=shown, return_annotation=signature.empty))
    if len(short + result) <= 90:
        return short + result
    parts = [str(p) for p in shown]
    kinds = [p.kind for p in shown]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        parts.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    return name + "(\n" + "".join(f"    {part},\n" for part in parts) + ")" + result


def _shown(parameter: inspect.Parameter) -> inspect.Parameter:
    """The parameter with its annotation as it is written, and constants by their names."""
    if parameter.annotation is not parameter.empty:
        parameter = parameter.replace(annotation=_Text(_text(parameter.annotation)))
    constants = [n for n in public_names() if getattr(textcl, n) is parameter.default]
    return parameter.replace(default=_Text(constants[0])) if constants else parameter


def _text(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
