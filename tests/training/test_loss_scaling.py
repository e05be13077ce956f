"""precision=fp16 without a GPU: the scaler of a GPU, here torch's for the CPU around float32 arithmetic."""

from __future__ import annotations

import io
import json
from unittest.mock import patch

import golden
import pytest
import torch
from accelerate import Accelerator
from recipe_rows import recipe_rows
from rich.console import Console
from safetensors.torch import load_file

import textcl
from textcl.training import session
from textcl.training.interrupts import InterruptedRunError, Interrupts
from textcl.training.settings import TrainSettings


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return golden.make_model(tmp_path_factory.mktemp("model"))


PLAIN = session.accelerator_of


def scale_losses(monkeypatch, scale):
    """Runs scale their losses; returns the scaler of each."""
    scalers = []

    def scaled(settings: TrainSettings) -> Accelerator:
        made = PLAIN(settings)
        made.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        made.native_amp = True
        scalers.append(made.scaler)
        monkeypatch.setattr(Accelerator, "mixed_precision", property(lambda self: "fp16"))
        return made

    monkeypatch.setattr(session, "accelerator_of", scaled)
    return scalers


def train(model, folder, monkeypatch, scale, **settings):
    scale_losses(monkeypatch, scale)
    arithmetic = "accelerate.accelerator.get_mixed_precision_context_manager"
    monkeypatch.setattr(
        arithmetic, lambda *_: torch.enable_grad()
    )  # float32: numbers are comparable
    written = io.StringIO()
    textcl.train(
        "unsup-simcse",
        model=str(model),
        data=recipe_rows(("text",)),
        dev="",
        output=folder,
        settings=golden.SETTINGS | settings,
        console=Console(file=written, width=200),
    )
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines], written.getvalue()


def test_a_scale_of_two_to_a_power_changes_no_loss(model, tmp_path, monkeypatch):
    lines, said = train(model, tmp_path / "run", monkeypatch, 2.0**10)
    assert [line["loss"] for line in lines] == pytest.approx(
        golden.read()["unsup-simcse"], rel=1e-6
    )
    assert "skipped" not in said


def test_an_update_whose_gradient_is_not_finite_is_skipped_and_said(model, tmp_path, monkeypatch):
    lines, said = train(model, tmp_path / "run", monkeypatch, 2.0**127, steps=2, head="none")
    assert not any(line["grad_norm"] is not None for line in lines)
    assert "gradient not finite in fp16: this update was skipped" in " ".join(said.split())
    before = load_file(next(model.rglob("model.safetensors")))
    after = load_file(tmp_path / "run/last/model.safetensors")
    shared = before.keys() & after.keys()
    assert len(shared) > 20
    assert all(torch.equal(before[key], after[key]) for key in shared)


def test_training_goes_on_where_the_scale_has_come_down(model, tmp_path, monkeypatch):
    lines, _ = train(model, tmp_path / "run", monkeypatch, 2.0**127, steps=16)
    finite = [line["grad_norm"] is not None for line in lines]
    assert not finite[0]
    assert finite[-1]
    assert finite == sorted(finite)


def test_a_resumed_run_goes_on_with_its_scale(model, tmp_path, monkeypatch):
    interrupted = patch.object(Interrupts, "asked", lambda self, at_log, device: True)
    with interrupted, pytest.raises(InterruptedRunError):
        train(model, tmp_path / "run", monkeypatch, 2.0**127, steps=2)
    scalers = scale_losses(monkeypatch, 2.0**10)
    session.resume(
        tmp_path / "run", data=recipe_rows(("text",)), console=Console(file=io.StringIO())
    )
    assert scalers[-1].get_scale() == 2.0**125  # halved once before the end and once after it
