"""The parts of the documentation that the package writes about itself: commands, settings, Python names, methods."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import statistics
import textwrap
import typing
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import typer

import textcl

ROOT = Path(__file__).resolve().parent.parent
WEB = "https://github.com/textcl/textcl"
RESULTS = ROOT / "eval" / "results"

_PAPER = re.compile(r"https?://[^\s;,)]+")


# Commands -------------------------------------------------------------------------------------------------------------


def commands() -> str:
    """A section for each command of the command line: what it does, its options, examples."""
    from textcl.cli.app import app

    group = typer.main.get_command(app)
    return "\n".join(_command(name, command) for name, command in group.commands.items())


def _command(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    usage = " ".join(
        _argument_name(p) if p.required else f"[{_argument_name(p)}]" for p in arguments
    )
    text, examples = _without_examples(inspect.cleandoc(command.help or ""))
    examples += _without_examples(inspect.cleandoc(command.epilog or ""))[1]
    lines = [f"## `textcl {name}`", "", text, "", f"    textcl {name} {usage} [OPTIONS]", ""]
    for title, parameters in (("argument", arguments), ("option", options)):
        if parameters:
            lines += _table((title, "value", "meaning"), [_parameter(p) for p in parameters])
    if examples:
        lines += ["Examples:", "", "```bash", *examples, "```", ""]
    return "\n".join(lines)


def _argument_name(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name).upper()


def _parameter(parameter: Any) -> tuple[str, str, str]:
    option = parameter.param_type_name == "option"
    names = sorted([*parameter.opts, *parameter.secondary_opts], key=len) if option else []
    shown = ", ".join(f"`{name}`" for name in names) or f"`{_argument_name(parameter)}`"
    notes = [parameter.help or ""]
    default = parameter.default
    if parameter.required and option:
        notes.append("Required.")
    elif default not in (None, False, "", (), []) and not callable(default):
        value = default.value if isinstance(default, Enum) else default
        notes.append(f"Default: `{value}`.")
    if getattr(parameter, "multiple", False) or parameter.nargs == -1:
        notes.append("May be given again.")
    return shown, _value_of(parameter), " ".join(note for note in notes if note)


def _value_of(parameter: Any) -> str:
    """What an option takes: its choices, or the kind of its value; nothing for a switch."""
    if getattr(parameter, "is_flag", False):
        return ""
    described = getattr(parameter, "type_descriptor", None)
    kind = described.annotation if described else str
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " ".join(f"`{choice.value}`" for choice in kind)
    return {int: "number", float: "number", Path: "path", str: "text"}.get(kind, "text")


def _without_examples(text: str) -> tuple[str, list[str]]:
    """Help text, and the example commands at its end, one each."""
    before, found, after = text.partition("Examples:")
    if not found:
        return text.strip(), []
    blocks = re.split(r"\n\s*\n|·", after)
    return before.strip(), [line for block in blocks if (line := " ".join(block.split()))]


# Settings -------------------------------------------------------------------------------------------------------------

_GROUPS = {
    "Model and data": ("model", "data", "dev", "max_length", "num_layers", "dropout"),
    "Batches": ("batch_size", "accumulation", "chunk_size", "gradient_checkpointing"),
    "Length of the run": ("epochs", "steps", "patience"),
    "Optimizer": ("learning_rate", "warmup", "schedule", "weight_decay", "max_grad_norm"),
    "What is measured and kept": ("evaluate_every", "save_every", "log_every", "trackers"),
    "Precision and seed": ("precision", "seed"),
}


def settings() -> str:
    """The settings of every recipe, those that all share first."""
    from textcl import ClassifierSettings, TrainSettings

    shared = [field.name for field in dataclasses.fields(TrainSettings)]
    placed = {name for names in _GROUPS.values() for name in names}
    groups = {**_GROUPS, "Further settings": tuple(n for n in shared if n not in placed)}
    lines = ["## Settings that every recipe has", ""]
    for title, names in groups.items():
        if rows := [row for row in _settings_rows(TrainSettings, names) if row]:
            lines += [
                f"### {title}",
                "",
                *_table(("setting", "values", "default", "meaning"), rows),
            ]
    own = _own_fields(ClassifierSettings, TrainSettings)
    lines += ["## Settings of the recipes for classes", ""]
    lines += _table(
        ("setting", "values", "default", "meaning"), _settings_rows(ClassifierSettings, own)
    )
    lines += ["## Settings of each recipe", ""]
    for name in recipe_names():
        lines += _recipe_settings(name)
    return "\n".join(lines)


def _recipe_settings(name: str) -> list[str]:
    recipe = find_recipe(name)
    kind = recipe.settings_type
    parent = kind.__mro__[1]
    own = _own_fields(kind, parent)
    lines = [
        f"### `{name}`",
        "",
        f"{_markdown(recipe.summary)} Columns: {_code(recipe.roles)}.",
        "",
    ]
    header = ("setting", "values", "default", "meaning")
    if own:
        lines += _table(header, _settings_rows(kind, own))
    first, base = kind(), parent()
    changed = [
        f.name
        for f in dataclasses.fields(parent)
        if getattr(first, f.name) != getattr(base, f.name)
    ]
    if changed:
        values = ", ".join(f"`{key}={_plain(getattr(first, key))}`" for key in changed)
        lines += [f"Other defaults: {values}.", ""]
    for model, preset in recipe.presets.items():
        values = ", ".join(f"`{key}={_plain(value)}`" for key, value in preset.items())
        lines += [f"With `--model {model}`: {values}.", ""]
    return lines


def _own_fields(kind: type, parent: type) -> list[str]:
    inherited = {field.name for field in dataclasses.fields(parent)}
    return [field.name for field in dataclasses.fields(kind) if field.name not in inherited]


def _settings_rows(kind: type, names: Iterable[str]) -> list[tuple[str, str, str, str]]:
    hints, meanings = typing.get_type_hints(kind), arguments_of(kind)
    first, known = kind(), {field.name for field in dataclasses.fields(kind)}
    return [
        (
            f"`{n}`",
            _values(hints[n]),
            f"`{_plain(getattr(first, n))}`",
            _markdown(meanings.get(n, "")),
        )
        for n in names
        if n in known
    ]


def _values(hint: Any) -> str:
    """What a setting takes, in words."""
    options = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return " ".join(f"`{option}`" for option in options)
    if typing.get_origin(hint) is tuple:
        return "texts, comma between"
    kinds = {int: "whole number", float: "number", str: "text", bool: "`true` `false`"}
    if options:
        return " or ".join(_values(option) for option in options if option is not type(None))
    return kinds.get(hint, "text")


def _plain(value: Any) -> str:
    if value in (None, "", ()):
        return "–"
    if isinstance(value, tuple):
        return ",".join(map(str, typing.cast("tuple[Any, ...]", value)))
    return (
        str(value).lower()
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


# Python ---------------------------------------------------------------------------------------------------------------


def python() -> str:
    """Every public name of `textcl`, by the part of the package it lives in, with signature and docstring."""
    wings: dict[str, list[str]] = {}
    for name in public_names():
        wings.setdefault(_wing(getattr(textcl, name)), []).append(name)
    lines: list[str] = []
    for wing in sorted(wings):
        lines += [f"## {wing.replace('_', ' ').capitalize()}", ""]
        for name in wings[wing]:
            lines += _python_entry(name, getattr(textcl, name))
    return "\n".join(lines)


def public_names() -> list[str]:
    """The names that `import textcl` offers, without modules and what the module itself imports."""
    names = getattr(textcl, "__all__", None) or [n for n in dir(textcl) if not n.startswith("_")]
    found = {name: getattr(textcl, name) for name in names}
    return sorted(n for n, value in found.items() if _module_of(value).startswith("textcl."))


def _module_of(value: Any) -> str:
    return "" if inspect.ismodule(value) else getattr(value, "__module__", "") or ""


def _wing(value: Any) -> str:
    return _module_of(value).split(".")[1]


def _python_entry(name: str, value: Any) -> list[str]:
    lines = [f"### `{name}`", ""]
    if inspect.isclass(value) or inspect.isfunction(value):
        if call := _signature(name, value):
            lines += ["```python", call, "```", ""]
        lines += [docstring(value), ""]
    else:
        lines += [f"A constant: {_markdown(repr(value))}.", ""]
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
    """Public methods that the class itself writes and describes."""
    found: list[tuple[str, Any]] = []
    for name, value in vars(kind).items():
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if not name.startswith("_") and inspect.isfunction(function) and function.__doc__:
            found.append((name, function))
    return found


def _signature(name: str, value: Any) -> str:
    """`name(arguments) -> result`, one argument a line where it is long."""
    if inspect.isclass(value) and issubclass(value, Exception):
        return ""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    parameters = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    bare = str(signature.replace(parameters=parameters)).replace("'", "")
    bare = re.sub(r"World\(rank=0, size=1\)", "ALONE", bare).removesuffix(" -> None")
    if len(name + bare) <= 90:
        return name + bare
    head, _, tail = bare.rpartition(")")
    parts = [str(p).replace("'", "") for p in parameters]
    parts = [re.sub(r"World\(rank=0, size=1\)", "ALONE", part) for part in parts]
    star = next((i for i, p in enumerate(parameters) if p.kind is p.KEYWORD_ONLY), None)
    if star is not None and "*" in head:
        parts.insert(star, "*")
    return name + "(\n" + "".join(f"    {part},\n" for part in parts) + ")" + tail


def docstring(value: Any) -> str:
    """A docstring of Google's convention as Markdown."""
    text = inspect.getdoc(value) or ""
    out: list[str] = []
    sections = re.split(
        r"^(Args|Returns|Raises|Yields|Note|Example|Examples):$", text, flags=re.MULTILINE
    )
    out.append(_paragraphs(sections[0]))
    for title, body in zip(sections[1::2], sections[2::2], strict=True):
        indented = re.match(r"(?:\n[ \t]+\S.*|\n[ \t]*)*", body)
        inside, after = (indented[0], body[indented.end() :]) if indented else (body, "")
        inside = textwrap.dedent(inside).strip()
        if title in ("Args", "Raises"):
            out += ["", f"**{'Arguments' if title == 'Args' else title}**", ""]
            out += [f"- `{key}`: {_markdown(meaning)}" for key, meaning in _entries(inside)]
        else:
            out += ["", f"**{title}** {_markdown(' '.join(inside.split()))}"]
        if after.strip():
            out += ["", _paragraphs(after)]
    return "\n".join(out)


def _entries(text: str) -> list[tuple[str, str]]:
    """`name: meaning` blocks, whose later lines are indented."""
    blocks = re.split(r"\n(?=\S)", text)
    pairs = (" ".join(block.split()).partition(": ") for block in blocks if block.strip())
    return [(key, meaning) for key, _, meaning in pairs]


def arguments_of(kind: type) -> dict[str, str]:
    """What the docstrings of a class and of those it inherits from say about its arguments."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        text = inspect.cleandoc(base.__doc__ or "")
        if inside := re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", text, re.MULTILINE):
            found |= dict(_entries(textwrap.dedent(inside[1]).strip()))
    return found


def _paragraphs(text: str) -> str:
    """Paragraphs as Markdown; what is indented is shown as it stands."""
    blocks = re.split(r"\n\s*\n", text.strip("\n"))
    return "\n\n".join(b if b.startswith("    ") else _markdown(b) for b in blocks if b.strip())


def _markdown(text: str) -> str:
    """Text whose `<`, `*`, `_` and `|` are characters and no markup, outside of code."""
    parts = re.split(r"(`[^`]*`|https?://[^\s;,)]+)", text)
    for number, part in enumerate(parts):
        if number % 2 == 0:
            parts[number] = re.sub(r"([<*_\[\]])", r"\\\1", part)
        elif part.startswith("http"):
            bare = part.rstrip(".")
            parts[number] = f"[{_short(bare)}]({bare})" + part[len(bare) :]
    return "".join(parts)


def _short(address: str) -> str:
    return (
        address.removeprefix("https://").removeprefix("http://").replace("arxiv.org/abs/", "arXiv:")
    )


# Methods --------------------------------------------------------------------------------------------------------------


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


def recipes() -> str:
    """Recipe, paper, file, and what it gained on the small encoder that all were measured on."""
    gains = {**_sentence_gains(), **_class_gains()}
    rows = []
    for name in recipe_names():
        recipe = find_recipe(name)
        file = f"recipes/{name.replace('-', '_')}.py"
        papers = " ".join(f"[{_short(p)}]({p})" for p in papers_of(recipe.doc))
        shown = (f"[`{name}`](reference/settings.md#{name})", _markdown(recipe.summary))
        rows.append(
            (*shown, papers, f"[{file}]({WEB}/blob/main/{file})", gains.get(name, "not measured"))
        )
    return "\n".join(_table(("recipe", "what it is", "paper", "file", "gained here"), rows))


def papers_of(doc: str) -> list[str]:
    """Addresses in the paragraph that begins with `Source:`, each once."""
    source = re.search(r"^Source: (.*?)(?:\n\s*\n|\Z)", doc, re.MULTILINE | re.DOTALL)
    found = _PAPER.findall(source[1]) if source else _PAPER.findall(doc)
    return list(dict.fromkeys(address.rstrip(".") for address in found))


def _measured() -> list[dict[str, Any]]:
    folders = ("2026-11-22-recipes-minilm3", "2026-11-24-recipes-minilm3")
    return [
        row
        for f in folders
        for row in json.loads((RESULTS / f / "results.json").read_text())["results"]
    ]


def _sentence_gains() -> dict[str, str]:
    """Average of seven STS tasks after 40 updates minus before; of seven word sets for the recipe for words."""
    before: dict[str, Any] = {}
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for row in _measured():
        if row["seed"] is None:
            before = row
        else:  # a seed that was measured twice counts as it came out the second time
            found.setdefault(row["recipe"], {})[row["seed"]] = row
    gains = {
        name: _gain([r["average"] for r in runs.values()], before["average"])
        for name, runs in found.items()
    }
    words = [statistics.mean(r["words"].values()) for r in found["mirror-word"].values()]
    gains["mirror-word"] += f" (words: {_gain(words, statistics.mean(before['words'].values()))})"
    return gains


def _gain(scores: Sequence[float], before: float) -> str:
    spread = f" ± {statistics.stdev(scores):.2f}" if len(scores) > 1 else ""
    return f"{statistics.mean(scores) - before:+.2f}{spread}"


def _class_gains() -> dict[str, str]:
    """Test accuracy on ISEAR minus that of cross-entropy with the same seed, five seeds."""
    rows = json.loads((RESULTS / "2026-11-24-emotion-minilm" / "results.json").read_text())[
        "results"
    ]
    main = [row for row in rows if row["stage"] == "main" and row["task"] == "ISEAR"]
    by_seed = {(row["recipe"], row["seed"]): row["accuracy"] for row in main}
    seeds = sorted({seed for _, seed in by_seed})
    gains = {"cross-entropy": "compared with"}
    for name in ("supcon", "lcl"):
        differences = [by_seed[name, seed] - by_seed["cross-entropy", seed] for seed in seeds]
        gains[name] = f"{_gain(differences, 0)} of accuracy"
    return gains


_KINDS = (
    ("Objective", lambda takes, gives: gives == "LossOutput"),
    ("Pairing", lambda takes, gives: gives == "Contrast" and takes[:1] == ["Embeddings"]),
    ("Transform", lambda takes, gives: gives == "Contrast" and takes[:1] == ["Contrast"]),
    ("Row loss", lambda takes, gives: takes[:1] == ["Block"]),
    ("View of words", lambda takes, gives: gives == "str" and takes[:1] == ["str"]),
    ("View behind the tokens", lambda takes, gives: gives == "Tokens" and takes[:1] == ["Tokens"]),
)


def parts() -> str:
    """Objectives, pairings, transforms, row losses and views: paper, file, recipes that use them."""
    sources = {
        n: (ROOT / "recipes" / f"{n.replace('-', '_')}.py").read_text() for n in recipe_names()
    }
    used = {
        n: {x.id for x in ast.walk(ast.parse(s)) if isinstance(x, ast.Name)}
        for n, s in sources.items()
    }
    rows: dict[str, list[tuple[str, ...]]] = {kind: [] for kind, _ in _KINDS}
    for name in public_names():
        value = getattr(textcl, name)
        if kind := _kind(value):
            first = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")
            papers = " ".join(f"[{_short(p)}]({p})" for p in papers_of(inspect.getdoc(value) or ""))
            file = _module_of(value).replace(".", "/") + ".py"
            users = (
                ", ".join(f"`{recipe}`" for recipe, names in used.items() if name in names) or "–"
            )
            link = f"[`{name}`](reference/python.md#{name.lower()})"
            place = f"[{file.removeprefix('textcl/')}]({WEB}/blob/main/{file})"
            rows[kind].append((link, _markdown(first), papers or "–", place, users))
    lines: list[str] = []
    for kind, found in rows.items():
        plural = {"Row loss": "Row losses", "View of words": "Views: words"}.get(kind, f"{kind}s")
        plural = "Views: behind the tokens" if kind == "View behind the tokens" else plural
        lines += [
            f"### {plural}",
            "",
            *_table(("name", "what it is", "paper", "file", "recipes"), found),
        ]
    return "\n".join(lines)


def _kind(value: Any) -> str | None:
    """What a public name is, by what it takes and gives."""
    if inspect.isclass(value):
        call = vars(value).get("forward") or vars(value).get("__call__")
        return _kind_of(call) if call else None
    if not inspect.isfunction(value):
        return None
    gives = str(inspect.signature(value).return_annotation)
    made = getattr(inspect.getmodule(value), gives, None)
    return _kind_of(value) or (_kind(made) if inspect.isclass(made) else None)


def _kind_of(function: Any) -> str | None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    takes = [str(p.annotation) for p in signature.parameters.values() if p.name != "self"]
    gives = str(signature.return_annotation)
    return next((kind for kind, fits in _KINDS if fits(takes, gives)), None)


# Tables ---------------------------------------------------------------------------------------------------------------


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table, with an empty one behind it."""
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return [*lines, ""]


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "settings": settings,
    "python": python,
    "recipes": recipes,
    "parts": parts,
}
