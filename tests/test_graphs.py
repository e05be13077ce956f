"""Steps that are repeated as graphs of a card do what they do without: every recipe, on a pretended card."""

from __future__ import annotations

import io
import json
from pathlib import Path
from unittest.mock import patch

import golden
import pytest
from accelerate import Accelerator
from graph_twin import Twin
from pretended_card import CARD, pretended_card
from recipe_rows import recipe_rows
from rich.console import Console

import textcl
from textcl.method.graphs import Graphs
from textcl.training import graphs, recipes
from textcl.training.loop import _Loop

CODE = Path(textcl.__file__).parent
RECIPES = recipes.find("quickstart").path.parent
UPDATES = 12

# Why the steps of a recipe are no graphs; so of 8 rows, whose queue fills up slowly. Where nothing is told no size came
# twice: mirror-bert pads rows by itself, static runs without layers, and the classifiers of lcl plan no batches.
OTHERWISE = {
    "ascl": "slice is called with other arguments each time",
    "esimcse": "slice is called with other arguments each time",
    "feature-transform": "textcl/contrast/draws.py",
    "lcl": "",
    "mirror-bert": "",
    "mirror-drophead": "",
    "mixup": "textcl/contrast/draws.py",
    "moco": "slice is called with other arguments each time",
    "proto-nce": "textcl/contrast/draws.py",
    "static": "",
}
FAST = ["unsup-simcse"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return golden.make_model(tmp_path_factory.mktemp("model"))


class _Enough(Exception):  # noqa: N818
    """Ends a run after its last update, before it saves: nothing of a pretended card can be saved."""


def train(name: str, model: Path, folder: Path, most: int, **settings):
    """Lines of the log and weights after a few updates with at most so many graphs, the twin, and what was told."""
    twin, shown, weights = Twin(), io.StringIO(), {}
    write, updates = _Loop._write, settings.pop("updates", UPDATES)

    def stopped(self, *args):
        write(self, *args)
        if self.at.step == updates:
            named = self.parts.embedder.named_parameters()
            weights.update({name: p.numbers.clone() for name, p in named})
            raise _Enough

    found = recipes.find(name)
    with (
        pretended_card(CODE, RECIPES),
        patch.object(Accelerator, "device", property(lambda self: CARD)),
        patch.object(graphs, "CudaGraphs", lambda device: twin),
        patch.object(graphs, "Graphs", lambda *args: Graphs(*args, most=most)),
        patch.object(_Loop, "_write", stopped),
        pytest.raises(_Enough),
    ):
        textcl.train(
            name,
            model=str(model),
            data=recipe_rows(found.roles, 256),
            dev="",
            output=folder,
            settings=golden.SETTINGS
            | {"graphs": True, "steps": updates + 1, "save_every": 0}
            | settings,
            console=Console(file=shown, width=300),
        )
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("rows_per_second")
    return lines, weights, twin, shown.getvalue()


def check(name: str, model: Path, folder: Path, **settings) -> None:
    expected, weights, none, _ = train(name, model, folder / "without", 0, **settings)
    lines, moved, twin, shown = train(name, model, folder / "with", 8, **settings)
    assert not none.recorded
    assert lines == expected  # dropout draws from one generator in both
    assert all((moved[key] == weights[key]).all() for key in weights)
    assert len({line["loss"] for line in lines}) > len(lines) // 2  # of no pair a loss is 0
    if name in OTHERWISE:
        assert not twin.recorded
        assert OTHERWISE[name] in shown
    else:
        assert "steps are not repeated" not in shown or "tried again later" in shown
        assert twin.replayed


@pytest.mark.parametrize("name", FAST)
def test_a_repeated_step_is_the_step(name, model, tmp_path):
    check(name, model, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*recipes.names()} - {*FAST}))
def test_every_repeated_step_is_the_step(name, model, tmp_path):
    check(name, model, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("sup-simcse", {"accumulation": 2, "updates": 8}),
        ("unsup-simcse", {"pooling": "mean+max", "temperature": "learnable:0.05"}),
        ("moco", {"queue": 16, "updates": 20}),
    ],
    ids=str,
)
def test_a_step_of_other_settings(name, settings, model, tmp_path):
    with patch.dict(OTHERWISE, clear=True):
        check(name, model, tmp_path, **settings)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"temperature": "cosine:0.1:0.05"}, "div is called with other arguments each time"),
        ({"chunk_size": 4}, "chunk_size embeds again with the random numbers of before"),
    ],
    ids=str,
)
def test_what_cannot_be_repeated_is_told_once(settings, why, model, tmp_path):
    _, _, twin, shown = train("unsup-simcse", model, tmp_path / "run", 8, updates=3, **settings)
    assert not twin.recorded
    assert shown.count("steps are not repeated as graphs") == shown.count(why) == 1


def test_a_cpu_has_no_graphs(model, tmp_path):
    shown = io.StringIO()
    textcl.train(
        "unsup-simcse",
        model=str(model),
        data=recipe_rows(("text",)),
        dev="",
        output=tmp_path / "run",
        settings=golden.SETTINGS | {"graphs": True, "steps": 1},
        console=Console(file=shown, width=300),
    )
    assert (
        "graphs=true: steps are not repeated as graphs (there is no CUDA device)"
        in shown.getvalue()
    )
