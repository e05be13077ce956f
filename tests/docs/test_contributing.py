"""The worked example of CONTRIBUTING.md does what it says: its three files are written out and run."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import io
import json
import math
import random
import re
import sys
from pathlib import Path

import pytest
from families import tiny_model_dir
from rich.console import Console

import textcl.objectives
from textcl.training import recipes as recipe
from textcl.training.session import train

GUIDE = Path(__file__).parents[2] / "CONTRIBUTING.md"
BLOCK = re.compile(r"^`([\w/]+\.py)`\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = (
    "textcl/objectives/decoupled.py",
    "tests/objectives/test_decoupled.py",
    "recipes/decoupled.py",
)


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The folder with the files of the example, its objective importable as a part of textcl."""
    for name, code in BLOCK.findall(GUIDE.read_text()):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    folders = [*textcl.objectives.__path__, str(tmp_path / "textcl" / "objectives")]
    monkeypatch.setattr(textcl.objectives, "__path__", folders)
    yield tmp_path
    sys.modules.pop("textcl.objectives.decoupled", None)


def cases_of(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: test for name, test in vars(module).items() if name.startswith("test_")}


def test_the_example_has_one_objective_one_test_and_one_recipe(example):
    assert sorted(str(p.relative_to(example)) for p in example.rglob("*.py")) == sorted(FILES)
    root = GUIDE.parent
    assert not [
        name for name in FILES if (root / name).exists()
    ]  # or it is no example of something new


def test_the_tests_of_the_example_pass(example, monkeypatch):
    tests = cases_of(example / FILES[1])
    assert set(tests) == {"test_decoupled_equals_loops", "test_contract"}
    for test in tests.values():
        test(**({"monkeypatch": monkeypatch} if inspect.signature(test).parameters else {}))


def test_the_tests_of_the_example_can_fail(example):
    path = example / FILES[0]
    right, wrong = "torch.where(counted, against - pull, 0.0)", "torch.where(counted, -pull, 0.0)"
    assert right in path.read_text()
    path.write_text(path.read_text().replace(right, wrong))
    importlib.invalidate_caches()
    with pytest.raises(AssertionError):
        cases_of(example / FILES[1])["test_decoupled_equals_loops"]()


def test_the_recipe_of_the_example_trains(example, tmp_path):
    path = str(example / FILES[2])
    assert recipe.find(path).summary.startswith("Decoupled SimCSE")
    draw, words = random.Random(0), ["man", "woman", "dog", "cat", "run", "eat"]
    rows = [" ".join(draw.choices(words, k=draw.randint(2, 9))) for _ in range(16)]
    out = tmp_path / "run"
    done = train(
        path, model=str(tiny_model_dir(tmp_path / "model")), data=rows, dev="", output=out,
        settings=["batch_size=8", "steps=2", "log_every=1"], console=Console(file=io.StringIO()),
    )  # fmt: skip
    log = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [1, 2]
    assert all(math.isfinite(line["loss"]) and line["grad_norm"] > 0 for line in log)
    assert done.encoder.encode(["a dog runs"]).shape == (1, done.encoder.dimension)


def test_the_map_names_every_wing_and_no_file_that_is_not_there():
    section = GUIDE.read_text().split("## How the code is laid out")[1].split("\n## ")[0]
    package = GUIDE.parent / "textcl"
    wings = {path.parent.name for path in package.glob("*/__init__.py")}
    rows = re.findall(r"^\| `(\w+)/` \|(.*)$", section, re.MULTILINE)
    assert {name for name, _ in rows} == wings
    for wing, row in rows:
        for name in re.findall(r"`([\w/]+(?:\.py|/))`", row):
            assert (package / wing / name).exists(), f"{wing}/{name}"
    ground, questions = section.split("| ground |")[1].split("| where is … |")
    named = re.findall(r"`([\w/]+\.py)`", ground.splitlines()[0] + questions)
    assert len(named) > 10
    for name in named:
        assert (package / name).exists(), name
    files = {path.name for path in package.glob("[!_]*.py")}
    assert files <= set(re.findall(r"`([\w/]+\.py)`", section))
