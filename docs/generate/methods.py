"""Recipes and parts with their papers, their files and what they gained here."""

from __future__ import annotations

import ast
import inspect
import json
import re
import statistics
from collections.abc import Sequence
from typing import Any

import textcl
from generate.markdown import markdown, short, table
from generate.package import ROOT, WEB, find_recipe, module_of, public_names, recipe_names

RESULTS = ROOT / "eval" / "results"

_PAPER = re.compile(r"https?://[^\s;,)]+")


def recipes() -> str:
    """Recipe, what it gained on the small encoder that all were measured on, paper and file."""
    found = gains()
    rows: list[tuple[str, ...]] = []
    for name in recipe_names():
        recipe = find_recipe(name)
        places = _places(recipe.doc, f"recipes/{name.replace('-', '_')}.py")
        link = f"[`{name}`](reference/settings.md#{name})"
        rows.append((link, found.get(name, "not measured"), markdown(recipe.summary), places))
    return "\n".join(table(("recipe", "gained here", "what it is", "paper, file"), rows))


def gains() -> dict[str, str]:
    """Gain of each recipe as measured here."""
    found = {**_sentence_gains(), **_class_gains()}
    return {name: text.replace("-", "−") for name, text in found.items()}


def _places(doc: str, file: str) -> str:
    """Links to the papers that a docstring names as its source, and to the file."""
    papers = [f"[{short(paper)}]({paper})" for paper in papers_of(doc)]
    return "<br>".join([*papers, f"[{file.removeprefix('textcl/')}]({WEB}/blob/main/{file})"])


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
    ("Objectives", lambda takes, gives: gives == "LossOutput"),
    ("Pairings", lambda takes, gives: gives == "Contrast" and takes[:1] == ["Embeddings"]),
    ("Transforms", lambda takes, gives: gives == "Contrast" and takes[:1] == ["Contrast"]),
    ("Row losses", lambda takes, gives: takes[:1] == ["Block"]),
    ("Views: words", lambda takes, gives: gives == "str" and takes[:1] == ["str"]),
    (
        "Views: behind the tokens",
        lambda takes, gives: gives == "Tokens" and takes[:1] == ["Tokens"],
    ),
)


def parts() -> str:
    """Objectives, pairings, transforms, row losses and views, with the recipes that use them."""
    used, gained = _names_in_recipes(), gains()
    rows: dict[str, list[tuple[str, ...]]] = {kind: [] for kind, _ in _KINDS}
    for name in public_names():
        value = getattr(textcl, name)
        if kind := _kind(value):
            doc = inspect.getdoc(value) or ""
            places = _places(doc, module_of(value).replace(".", "/") + ".py")
            users = [recipe for recipe, names in used.items() if name in names]
            shown = [f"`{recipe}` {gained.get(recipe, '')}".strip() for recipe in users]
            uses = "<br>".join(shown) if len(users) <= 6 else f"{len(users)} recipes"
            link = f"[`{name}`](reference/python.md#{name.lower()})"
            rows[kind].append(
                (link, markdown(" ".join(doc.split("\n\n")[0].split())), places, uses)
            )
    header = ("name", "what it is", "paper, file", "recipes, and what they gained here")
    return "\n".join(
        line for kind, found in rows.items() for line in (f"### {kind}", "", *table(header, found))
    )


def _names_in_recipes() -> dict[str, set[str]]:
    """The names that the code of each recipe uses."""
    files = {n: ROOT / "recipes" / f"{n.replace('-', '_')}.py" for n in recipe_names()}
    return {
        name: {x.id for x in ast.walk(ast.parse(path.read_text())) if isinstance(x, ast.Name)}
        for name, path in files.items()
    }


def _kind(value: Any) -> str | None:
    """Kind of a public name, by its arguments and result."""
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
