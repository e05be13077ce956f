"""Every objective of the package has a contract test; one that is new and has none is named here."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest
import torch
from contracts import check_objective
from torch import nn

import textcl.objectives
from textcl.types import Embeddings, LossOutput

TESTS = sorted(Path(__file__).parents[1].rglob("test_*.py"))
# Not losses of rows of their own, which is what the contract is about.
ELSEWHERE = {
    "Alternate": "its turns are what changes between calls: test_combine.py, and resumed in test_recipes.py",
}


def objectives():
    """Modules from embeddings to a loss in all files of the package, each with the names that make it."""
    found = {}
    for part in pkgutil.iter_modules(textcl.objectives.__path__):
        module = importlib.import_module(f"textcl.objectives.{part.name}")
        for name, value in vars(module).items():
            if inspect.isclass(value) and issubclass(value, nn.Module):
                said = inspect.get_annotations(value.forward).get("return")
                mine = value.__module__ == module.__name__ and not name.startswith("_")
                if mine and getattr(said, "__name__", said) == "LossOutput":
                    makers = inspect.getmembers(module, inspect.isfunction)
                    found[name] = {name} | {f for f, make in makers if makes(make, name)}
    return found


def makes(function, name):
    """Whether a function such as `cosent` returns a module of this name."""
    return inspect.get_annotations(function).get("return") == name


def checked(source):
    """Names that the tests which call check_objective use, also through what the file defines for them."""
    tree = ast.parse(source)
    uses = {}
    for node in tree.body:
        named = [node] if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else []
        names = {n.name for n in named} | {
            target.id for target in getattr(node, "targets", []) if isinstance(target, ast.Name)
        }
        inside = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        uses |= dict.fromkeys(names, inside)
    found = {"check_objective"} & uses.keys()
    todo = [name for name, inside in uses.items() if "check_objective" in inside]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += uses.get(name, ())
    return found


@pytest.fixture(scope="module")
def covered():
    return set().union(*(checked(path.read_text()) for path in TESTS))


def test_every_objective_has_a_contract_test(covered):
    assert len(objectives()) > 15
    missing = [n for n, made in objectives().items() if not made & covered and n not in ELSEWHERE]
    assert not missing, f"no test calls check_objective for {', '.join(missing)}"


def test_what_is_excused_exists_and_is_not_checked(covered):
    assert ELSEWHERE.keys() <= objectives().keys()
    assert not ELSEWHERE.keys() & covered


def test_an_objective_without_a_contract_test_is_found():
    made = "def make(w): return New(w)\ndef test_contract(): check_objective(make, rows)\n"
    assert "New" in checked(made)
    assert "New" not in checked(made.replace("check_objective(make, rows)", "New(1)"))


class Careless(nn.Module):
    """Logs a term with its graph, and gives another loss for another order of the rows."""

    def forward(self, z: Embeddings) -> LossOutput:
        places = torch.arange(1.0, len(z) + 1, dtype=z["anchor"].dtype)
        loss = (z["anchor"].sum(dim=1) * places).mean()
        return LossOutput(loss, {"sum": loss + 1})


def test_all_broken_invariants_are_named():
    def rows(n):
        g = torch.Generator().manual_seed(0)
        return Embeddings.of(anchor=torch.randn(8, 4, generator=g, dtype=torch.float64)[:n])

    with pytest.raises(ExceptionGroup) as broken:
        check_objective(lambda world: Careless(), rows, uses=("anchor",), ranks=False)
    notes = [error.__notes__[-1] for error in broken.value.exceptions]
    assert notes == [
        "broken: what is logged has no graph",
        "broken: the order of the rows does not matter",
    ]
