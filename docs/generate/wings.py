"""The wings of the package, top to bottom, and what each file in them holds, from the docstrings."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

from generate.markdown import markdown, table
from generate.package import ROOT, WEB

PACKAGE = ROOT / "textcl"


def wings() -> str:
    """A section for each wing, in the order of the import contract, and one for the files below all wings."""
    lines: list[str] = []
    for name in wing_names():
        folder = PACKAGE / name
        lines += [f"### {name}", "", markdown(summary(folder / "__init__.py")), ""]
        lines += table(("file", "holds"), [_row(path) for path in _files(folder)])
    lines += ["### ground", "", "What every wing may use.", ""]
    ground = [path for path in sorted(PACKAGE.glob("*.py")) if not path.name.startswith("__")]
    return "\n".join([*lines, *table(("file", "holds"), [_row(path) for path in ground])])


def wing_names() -> list[str]:
    """The folders with code, those that may import the others first."""
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(c["layers"] for c in contracts["contracts"] if c["type"] == "layers")
    ordered = [name.strip().split(".")[-1] for layer in layers for name in layer.split("|")]
    present = [name for name in ordered if name in folders]
    return [*present, *sorted(folders - {*present})]


def summary(path: Path) -> str:
    """The first paragraph of a file's docstring."""
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(doc.split("\n\n")[0].split())


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*.py")) if path.name != "__init__.py"]


def _row(path: Path) -> tuple[str, str]:
    name = path.relative_to(ROOT).as_posix()
    shown = path.relative_to(PACKAGE / name.split("/")[1] if name.count("/") > 1 else PACKAGE)
    return f"[{shown.as_posix()}]({WEB}/blob/main/{name})", markdown(summary(path))
