"""Docstrings, texts and tables as Markdown."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any


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
            out += [f"- `{key}`: {markdown(meaning)}" for key, meaning in _entries(inside)]
        else:
            out += ["", f"**{title}** {markdown(' '.join(inside.split()))}"]
        if after.strip():
            out += ["", _paragraphs(after)]
    return "\n".join(out)


def _entries(text: str) -> list[tuple[str, str]]:
    """`name: meaning` blocks, whose later lines are indented."""
    blocks = re.split(r"\n(?=\S)", text)
    pairs = (" ".join(block.split()).partition(": ") for block in blocks if block.strip())
    return [(key, meaning) for key, _, meaning in pairs]


def arguments_of(kind: type) -> dict[str, str]:
    """Descriptions of the arguments of a class, from its docstring and those it inherits from."""
    arguments: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        text = inspect.cleandoc(base.__doc__ or "")
        if inside := re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", text, re.MULTILINE):
            arguments |= dict(_entries(textwrap.dedent(inside[1]).strip()))
    return arguments


def _paragraphs(text: str) -> str:
    """Paragraphs as Markdown; what is indented is shown as it stands."""
    blocks = re.split(r"\n\s*\n", text.strip("\n"))
    return "\n\n".join(b if b.startswith("    ") else markdown(b) for b in blocks if b.strip())


def markdown(text: str) -> str:
    """Text whose `<`, `*`, `_` and `|` are characters and no markup, outside of code."""
    parts = re.split(r"(`[^`]*`|https?://[^\s;,)]+)", text)
    for number, part in enumerate(parts):
        if number % 2 == 0:
            parts[number] = re.sub(r"([<*_\[\]])", r"\\\1", part)
        elif part.startswith("http"):
            bare = part.rstrip(".")
            parts[number] = f"[{short(bare)}]({bare})" + part[len(bare) :]
    return "".join(parts)


def short(address: str) -> str:
    """An address as the words of its link."""
    return (
        address.removeprefix("https://").removeprefix("http://").replace("arxiv.org/abs/", "arXiv:")
    )


def code(names: Iterable[str]) -> str:
    """Names in code, comma between."""
    return ", ".join(f"`{name}`" for name in names)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table, with an empty one behind it."""
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return [*lines, ""]
