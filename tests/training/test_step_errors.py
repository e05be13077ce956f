"""A step that does not fit into memory, and operators that repeat their bits or cannot."""

from __future__ import annotations

import io
import json

import golden
import pytest
import torch
from recipe_rows import recipe_rows
from rich.console import Console

import textcl
from textcl.errors import RunError
from textcl.training import recipes
from textcl.training.parts import Parts
from textcl.training.session import resume
from textcl.training.settings import TrainSettings
from textcl.training.step_errors import explained
from textcl.types import Batch


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return golden.make_model(tmp_path_factory.mktemp("model"))


def train(model, folder, **settings):
    return textcl.train(
        "unsup-simcse",
        model=str(model),
        data=recipe_rows(recipes.find("unsup-simcse").roles),
        dev="",
        output=folder,
        settings=golden.SETTINGS | settings,
        console=Console(file=io.StringIO()),
    )


def test_a_step_that_does_not_fit_is_one_sentence_and_the_run_goes_on(model, tmp_path, monkeypatch):
    backprop, calls = Parts.backprop, []

    def failing(self, batch):
        calls.append(len(batch))
        if len(calls) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return backprop(self, batch)

    monkeypatch.setattr(Parts, "backprop", failing)
    with pytest.raises(RunError) as raised:
        train(model, tmp_path / "run", save_every=1)
    message = str(raised.value)
    assert message.startswith("a step of 8 rows and ")
    assert "--set chunk_size=2" in message
    assert "gradient_checkpointing" in message
    monkeypatch.setattr(Parts, "backprop", backprop)
    rows = recipe_rows(recipes.find("unsup-simcse").roles)
    gone_on = resume(tmp_path / "run", data=rows, console=Console(file=io.StringIO()))
    assert gone_on.position.step == golden.UPDATES


def test_deterministic_operators_change_nothing_on_a_cpu(model, tmp_path):
    losses: dict[bool, list[float]] = {}
    for wanted in (True, False):
        train(model, tmp_path / str(wanted), deterministic=wanted)
        assert torch.are_deterministic_algorithms_enabled() is wanted
        lines = (tmp_path / str(wanted) / "metrics.jsonl").read_text().splitlines()
        losses[wanted] = [json.loads(line)["loss"] for line in lines]
    assert losses[True] == losses[False]


# what torch says on a card
NO_FORM = (
    "embedding_bag_backward_cuda_max does not have a deterministic implementation, but you set "
    "'torch.use_deterministic_algorithms(True)'. You can turn off determinism just for this operation"
)
TOO_LATE = (
    "Deterministic behavior was enabled with `torch.use_deterministic_algorithms(True)`, but this operation is not "
    "deterministic because it uses CuBLAS: set CUBLAS_WORKSPACE_CONFIG=:4096:8"
)


@pytest.mark.parametrize(
    ("torch_says", "expected"),
    [
        (
            NO_FORM,
            "cannot be kept: embedding_bag_backward_cuda_max does not have a deterministic implementation;",
        ),
        (TOO_LATE, "set CUBLAS_WORKSPACE_CONFIG=:4096:8 in its environment and start it again"),
    ],
    ids=["no form", "too late"],
)
def test_an_operator_that_is_not_deterministic_is_one_sentence(torch_says, expected):
    batch, device = Batch({}, torch.arange(2), {}), torch.device("cpu")
    settings = TrainSettings(deterministic=True)
    with pytest.raises(RunError) as raised, explained(batch, settings, device):
        raise RuntimeError(torch_says)
    assert str(raised.value).startswith("deterministic=true")
    assert expected in str(raised.value)
    with pytest.raises(RuntimeError, match="another"), explained(batch, settings, device):
        raise RuntimeError("another error")
