"""Every recipe on a tiny model: it trains, what it leaves loads, and a run that stopped goes on bit for bit."""

from __future__ import annotations

import json
import math

import pytest
import torch
from families import tiny_model_dir
from labelled import write_jsonl
from recipe_rows import recipe_rows
from safetensors.torch import load_file
from training_runs import crash_at, last_of_each, quiet

import textcl.training.session
from textcl import Encoder
from textcl.errors import RunError, UserError
from textcl.method.method import online_of
from textcl.training import recipes as recipe
from textcl.training.session import resume, train

SETTINGS = (
    "batch_size=8",
    "log_every=1",
    "max_length=32",
    "learning_rate=1e-3",
    "schedule=constant",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_model_dir(tmp_path_factory.mktemp("model"), layers=3))


@pytest.fixture
def data(tmp_path):
    """A file with made-up rows of the roles a recipe asks for."""

    def write(roles):
        return write_jsonl(tmp_path / "rows.jsonl", recipe_rows(roles))

    return write


def run(name, model, data, output, settings=(), console=None):
    found = recipe.find(name)
    return train(
        name, model=model, data=data(found.roles), dev="", output=output,
        settings=last_of_each([*SETTINGS, *settings]), console=console or quiet(),
    )  # fmt: skip


def weights(folder):
    return load_file(folder / "model.safetensors")


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", recipe.names())
def test_a_recipe_trains_and_leaves_an_encoder(name, model, data, tmp_path):
    console, out = quiet(), tmp_path / "run"
    labelled = issubclass(recipe.find(name).settings_type, textcl.LabelledSettings)
    trained = ["keep_frozen=false"] if labelled else []  # two updates seldom beat the start
    done = run(name, model, data, out, ["steps=2", *trained], console)
    shown = console.file.getvalue()
    assert "each anchor sees " in shown or "from batches of 8 rows" in shown
    assert len(lines(out)) == 2
    for line in lines(out):
        assert math.isfinite(line["loss"])
        assert math.isfinite(line["grad_norm"])
    before, after = Encoder.from_pretrained(model).backbone.state_dict(), weights(out / "best")
    moved = [key for key in after if key in before and not torch.equal(before[key], after[key])]
    assert name == "static" or any("layer" in key for key in moved)
    texts = ["a man runs", "the cat eats red food"]
    again = Encoder.from_pretrained(out / "best").encode(texts, precision="float32")
    assert abs(again - done.encoder.encode(texts, precision="float32")).max() < 1e-5


@pytest.mark.parametrize("name", recipe.names())
def test_presets_name_settings_and_values_that_fit(name):
    found = recipe.find(name)
    for preset in found.presets:
        assert found.settings(f"hub/{preset}").model == f"hub/{preset}"


# One of each kind of state. 24 rows make 3 batches an epoch: crashed at update 4, in the second, a run goes on after 2.
KINDS = {
    "queue and momentum": ("moco", ("queue=20",)),
    "draws": ("feature-transform", ("queue=20",)),
    "predictor and rising momentum": ("byol", ("predictor_width=16",)),
    "learnable temperature": ("sup-simcse", ("temperature=learnable:0.1",)),
    "annealed": ("hcl", ("stages=3",)),
    "turns": ("joint-nli", ("joint=alternate", "chunk_size=3")),
    "prototypes and queue": (
        "proto-nce",
        ("queue=20", "prototype_negatives=2", "rows_per_cluster=6,4"),
    ),
    "mixing": ("mixup", ()),
    "masked tokens": ("unsup-simcse", ("mlm_weight=0.1", "chunk_size=3")),
    "teacher": ("distill", ()),
    "soft targets and cut tokens": ("ascl", ("queue=20", "cutoff=0.3", "chunk_size=3")),
    "cut features and moved positions": ("consert", ("dropout=0.1",)),
    "drophead": ("mirror-drophead", ("chunk_size=3",)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_crashed_run_goes_on_as_if_it_had_not(kind, model, data, tmp_path, monkeypatch):
    name, settings = KINDS[kind]
    settings = ["num_layers=1", *settings, "steps=5", "save_every=2"]
    run(name, model, data, tmp_path / "whole", settings)
    with monkeypatch.context() as patch:
        crash_at(patch, 4)
        with pytest.raises(ConnectionError):
            run(name, model, data, tmp_path / "crashed", settings)
    resume(tmp_path / "crashed", console=quiet())
    whole, again = (weights(tmp_path / run / "last") for run in ("whole", "crashed"))
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[key], again[key]) for key in whole)
    logs = [lines(tmp_path / run) for run in ("whole", "crashed")]
    for log in logs:
        for line in log:
            line.pop("rows_per_second")
    assert logs[0] == logs[1]


@pytest.mark.parametrize("name", ["moco", "distill", "unsup-simcse"])
def test_checkpointed_activations_change_nothing(name, model, data, tmp_path):
    extra = ["mlm_weight=0.1"] if name == "unsup-simcse" else []
    for folder, checkpointing in (("plain", "false"), ("checkpointed", "true")):
        settings = ["steps=3", f"gradient_checkpointing={checkpointing}", *extra]
        run(name, model, data, tmp_path / folder, settings)
    plain, checkpointed = (weights(tmp_path / f / "last") for f in ("plain", "checkpointed"))
    for key in plain:
        torch.testing.assert_close(plain[key], checkpointed[key])


def test_a_width_cannot_be_halved_below_one(model, data, tmp_path):
    run("matryoshka", model, data, tmp_path / "run", ["steps=1", "halvings=5"])  # 32 dimensions
    with pytest.raises(UserError, match=r"halvings is 6, and the 32 dimensions of .* 5 times"):
        run("matryoshka", model, data, tmp_path / "other", ["steps=1", "halvings=6"])


def test_a_method_that_does_not_fit_into_memory_is_one_sentence(model, data, tmp_path, monkeypatch):
    def full(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate ...")

    monkeypatch.setattr("textcl.contrast.queue.MemoryQueue.__init__", full)
    with pytest.raises(
        RunError, match="moco does not fit into memory: choose a smaller model, queue"
    ):
        run("moco", model, data, tmp_path / "run")


FAST = ("cross-entropy", "few-shot", "moco", "pairs", "unsup-simcse")


@pytest.mark.parametrize(
    "name",
    [
        name if name in FAST else pytest.param(name, marks=pytest.mark.slow)
        for name in recipe.names()
        if name != "static"  # a table has no layers beside which one could learn
    ],
)
def test_every_recipe_can_learn_an_adapter_alone(name, model, data, monkeypatch):
    built, build = [], textcl.training.session.build_method

    def spied(*arguments):
        built.append(build(*arguments))
        return built[-1]

    monkeypatch.setattr(textcl.training.session, "build_method", spied)
    found = recipe.find(name)
    settings = {"adapter": "lora:2", "batch_size": 8, "max_length": 32, "num_layers": None}
    if hasattr(found.settings(), "pooling"):  # the recipe's may be one that an adapter cannot hold
        settings["pooling"] = "mean"
    train(
        name, model=model, data=data(found.roles), dev="",
        settings=settings, console=quiet(), dry_run=True,
    )  # fmt: skip
    backbone = online_of(built[0]).backbone
    learned = {name for name, weight in backbone.named_parameters() if weight.requires_grad}
    assert learned
    assert all("lora_" in name for name in learned)
