"""What only a real card can show: `pytest -m gpu`. None of these tests has been run on one yet."""

from __future__ import annotations

import gc
import io
import json
import os
from contextlib import ExitStack, contextmanager
from unittest.mock import Mock, patch

import golden
import numpy as np
import pytest
import torch
from families import DECODERS, FAMILIES, T5, tiny_encoder
from recipe_rows import recipe_rows
from rich.console import Console
from safetensors.torch import load_file

import textcl
from textcl.errors import RunError
from textcl.training import recipes
from textcl.training.interrupts import InterruptedRunError, Interrupts
from textcl.training.loop import _Loop
from textcl.training.session import resume

pytestmark = pytest.mark.gpu

# what deterministic=true needs before the first product in a process
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

UPDATES = 6
DRAWS_ON_THE_DEVICE = {"mirror-drophead"}  # so its heads differ from those that a CPU drops
QUIET = {"console": Console(file=io.StringIO())}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return golden.make_model(tmp_path_factory.mktemp("model"))


@contextmanager
def without_card():
    with ExitStack() as stack:
        for module in (torch.cuda, torch.accelerator):
            stack.enter_context(patch.object(module, "is_available", lambda: False))
        yield


def train(name, model, folder, rows=64, **settings):
    found = recipes.find(name)
    plain = golden.settings_of(name) | {"steps": UPDATES}
    plain |= {} if name == "static" else {"dropout": 0.0}  # which has no layers
    textcl.train(
        name,
        model=str(model),
        data=recipe_rows(found.roles, rows),
        dev="",
        output=folder,
        settings=plain | settings,
        **QUIET,
    )
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


@pytest.mark.parametrize("name", sorted({*recipes.names()} - DRAWS_ON_THE_DEVICE))
def test_a_recipe_trains_as_on_a_cpu(name, model, tmp_path):
    on_card = train(name, model, tmp_path / "card")
    with without_card():
        on_cpu = train(name, model, tmp_path / "cpu")
    assert on_card == pytest.approx(on_cpu, abs=1e-4)


@pytest.mark.parametrize("name", recipes.names())
def test_no_step_waits_for_the_card(name, model, tmp_path):
    step = _Loop._step

    def watched(self, batch):
        torch.cuda.set_sync_debug_mode("error" if 1 < self.at.step < UPDATES - 1 else "default")
        try:
            step(self, batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    with patch.object(_Loop, "_step", watched):
        train(name, model, tmp_path / "run", log_every=100)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_low_precision_trains(precision, model, tmp_path):
    losses = train("sup-simcse", model, tmp_path / "run", precision=precision)
    assert np.isfinite(losses).all()


def test_a_deterministic_run_repeats_its_bits_and_so_does_a_resumed_one(model, tmp_path):
    settings = {"deterministic": True, "dropout": 0.1, "save_every": 3}
    for name in ("first", "second"):
        train("unsup-simcse", model, tmp_path / name, **settings)
    asked = patch.object(Interrupts, "asked", lambda self, at_log, device: True)
    with asked, pytest.raises(InterruptedRunError):
        train("unsup-simcse", model, tmp_path / "resumed", **settings)
    rows = recipe_rows(recipes.find("unsup-simcse").roles, 64)
    resume(tmp_path / "resumed", data=rows, **QUIET)
    weights = [
        load_file(tmp_path / n / "last/model.safetensors") for n in ("first", "second", "resumed")
    ]
    for key, first in weights[0].items():
        assert all(torch.equal(first, other[key]) for other in weights[1:]), key


@pytest.mark.parametrize("name", ["unsup-simcse", "sup-simcse", "byol"])
def test_a_repeated_step_is_the_step(name, model, tmp_path):
    settings = {"steps": 16, "rows": 256, "precision": "fp32"}
    replays = Mock(wraps=torch.cuda.CUDAGraph.replay)
    with patch.object(torch.cuda.CUDAGraph, "replay", lambda graph: replays(graph)):
        repeated = train(name, model, tmp_path / "graphs", graphs=True, **settings)
    assert replays.call_count > 4
    assert repeated == pytest.approx(train(name, model, tmp_path / "plain", **settings), abs=1e-4)


def test_a_repeated_step_draws_other_masks(model, tmp_path):
    settings = {"steps": 16, "learning_rate": 0.0, "dropout": 0.1, "graphs": True}
    losses = train("unsup-simcse", model, tmp_path / "run", rows=8, **settings)
    assert len(set(losses)) == len(losses)


def test_a_step_that_does_not_fit_is_one_sentence(model, tmp_path):
    gc.collect()
    torch.cuda.empty_cache()
    limit = torch.cuda.memory_reserved() + 256 * 2**20  # of which cuBLAS takes some
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(limit / total)
    try:
        with pytest.raises(RunError, match="does not fit into the memory of cuda, with a peak of"):
            train("unsup-simcse", model, tmp_path / "run", rows=8192, batch_size=8192)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize("family", [*FAMILIES, *DECODERS, *T5])
def test_encoding_gives_the_vectors_of_a_cpu(family):
    encoder = tiny_encoder(family, pooling="cls+mean+max+lasttoken")
    texts = ["a dog runs", "", "two", "the man plays guitar in the street of the city"] * 9
    expected = encoder.encode(texts, precision="float32")
    encoder.cuda()
    np.testing.assert_allclose(encoder.encode(texts, precision="float32"), expected, atol=1e-4)
    low = encoder.encode(texts, precision="bfloat16")
    cosines = (
        (low * expected).sum(1) / np.linalg.norm(low, axis=1) / np.linalg.norm(expected, axis=1)
    )
    assert np.nanmin(cosines) > 0.998
