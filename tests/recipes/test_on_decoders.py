"""Recipes on decoders: they train, or one sentence says why not."""

from __future__ import annotations

import io
import json

import families
import numpy as np
import pytest
from recipe_rows import recipe_rows
from rich.console import Console
from training_runs import last_of_each

from textcl import Encoder
from textcl.errors import UserError
from textcl.training import recipes
from textcl.training.session import train

FAST = ("moco", "pairs", "unsup-simcse")


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    return families.tiny_model_dir(tmp_path_factory.mktemp("decoder"), "qwen3")


def run(name, model, folder, *settings):
    """Train two updates; what was shown."""
    rows = recipe_rows(recipes.find(name).roles)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    console = Console(file=io.StringIO(), width=400)
    train(
        name, model=str(model), data=str(folder / "rows.jsonl"), dev="", output=folder / "run",
        settings=last_of_each(["batch_size=8", "steps=2", "max_length=16", "num_layers=2", *settings]),
        console=console, overwrite=True,
    )  # fmt: skip
    return console.file.getvalue()


@pytest.mark.parametrize(
    "name",
    [
        name if name in FAST else pytest.param(name, marks=pytest.mark.slow)
        for name in recipes.names()
        if name != "static"  # what it trains has no layers
    ],
)
def test_every_recipe_trains_a_decoder_with_its_last_token(name, decoder, tmp_path):
    shown = run(name, decoder, tmp_path)
    assert "each token sees what stands before it" in shown
    saved = Encoder.from_pretrained(tmp_path / "run/best")
    assert saved.pooling in ("lasttoken", "mean")
    assert np.isfinite(saved.encode(["a dog runs"])).all()


def test_a_decoder_learns_in_both_directions_and_keeps_them(decoder, tmp_path):
    shown = run("pairs", decoder, tmp_path, "bidirectional=true", "pooling=lasttoken")
    assert "each token sees both sides of it" in shown
    assert Encoder.from_pretrained(tmp_path / "run/best").backbone.config.is_causal is False


def test_an_adapter_of_a_decoder(decoder, tmp_path):
    Encoder.from_pretrained(decoder).save_pretrained(tmp_path / "base")
    run("unsup-simcse", tmp_path / "base", tmp_path, "adapter=lora:2", "num_layers=")
    assert not (tmp_path / "run/best/model.safetensors").exists()
    assert Encoder.from_pretrained(tmp_path / "run/best").pooling == "lasttoken"


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("pooling=cls", "do not see the text after them: use lasttoken or mean"),
        (
            "mlm_weight=0.1",
            "needs a mask token, which this model's tokenizer lacks: set mlm_weight=0",
        ),
    ],
)
def test_what_a_decoder_cannot_is_refused(setting, why, decoder, tmp_path):
    with pytest.raises(UserError, match=why):
        run("unsup-simcse", decoder, tmp_path, setting)


def test_views_that_are_equal_without_dropout_are_shown(tmp_path):
    still = families.tiny_model_dir(tmp_path, "llama", dropout=0.0)
    equal = "views of a text are equal: set dropout=0.1"
    assert equal in run("unsup-simcse", still, tmp_path)
    assert equal not in run("unsup-simcse", still, tmp_path, "dropout=0.1")
    assert equal not in run("mirror-drophead", still, tmp_path)
