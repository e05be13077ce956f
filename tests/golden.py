"""Golden losses: the first four updates of every recipe on a tiny model, kept in `golden_losses.json`.

`python tests/golden.py --write` renews them, after a change that moves numbers on purpose; its commit says why.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from pathlib import Path

from families import tiny_model_dir
from recipe_rows import recipe_rows
from rich.console import Console

import textcl
from textcl.training import recipes as recipe

UPDATES = 4
SETTINGS = {
    "steps": UPDATES,
    "log_every": 1,
    "batch_size": 8,
    "max_length": 32,
    "learning_rate": 2e-5,  # small: what the arithmetic of another CPU changes must not grow
    "schedule": "constant",
    "precision": "fp32",
    "seed": 0,
}
MOMENTUM = {"momentum": 0.5}  # where there is an average: far enough from 1 to see it move
STORED = Path(__file__).with_name("golden_losses.json")


def make_model(folder: Path) -> Path:
    """The model that every recipe starts from."""
    return tiny_model_dir(folder, layers=3)


def settings_of(name: str) -> dict[str, object]:
    """The settings that a recipe is measured with."""
    plain = recipe.find(name).settings()
    averages = MOMENTUM if hasattr(plain, "momentum") else {}
    # a training without each part of the rows comes before, and leaves the training itself as it is
    alone: dict[str, object] = {"compare_folds": 0} if hasattr(plain, "compare_folds") else {}
    return {**SETTINGS, **averages, **alone}


def measure(name: str, model: Path, folder: Path) -> list[float]:
    """The loss of each update of a recipe; `folder` is made for its run."""
    found = recipe.find(name)
    textcl.train(
        name,
        model=str(model),
        data=recipe_rows(found.roles),
        dev="",
        output=folder,
        settings=settings_of(name),
        console=Console(file=io.StringIO()),
    )
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def read() -> dict[str, list[float]]:
    """The stored losses by recipe."""
    return json.loads(STORED.read_text())


def write() -> None:
    """Measure every recipe and store the losses."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model = make_model(folder / "model")
        losses = {name: measure(name, model, folder / name) for name in sorted(recipe.names())}
    lines = ",\n".join(f' "{name}": {json.dumps(losses[name])}' for name in losses)
    STORED.write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(
            "python tests/golden.py --write renews the stored losses; pytest tests/test_golden.py compares"
        )
    import conftest  # one thread, no network

    assert conftest

    write()
