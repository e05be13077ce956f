"""Runs in tests: stopped in the middle, and compared with those that were not."""

from __future__ import annotations

import io
import json
from pathlib import Path

import torch
from rich.console import Console
from safetensors.torch import load_file

import textcl.training.session
from textcl.method.hooks import Hook


def quiet():
    return Console(file=io.StringIO(), width=200)


def weights(folder):
    return load_file(next((Path(folder) / "last").glob("*model.safetensors")))


def assert_same_run(one, other):
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    scores = [json.loads((Path(f) / "scores.json").read_text()) for f in (one, other)]
    for score in scores:
        score.pop("train_seconds")
    assert scores[0] == scores[1]
    assert losses(one) == losses(other)


def losses(folder):
    lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()
    return [(line["step"], line.get("loss"), line.get("dev")) for line in map(json.loads, lines)]


def crash_at(monkeypatch, step):
    """The next run stops with an exception right after this update."""
    build = textcl.training.session.run_loop

    class Crash(Hook):
        def after_update(self, done):
            if done == step:
                raise ConnectionError("the machine went away")

    def loop(method, *args, **kwargs):
        object.__setattr__(method, "hooks", [*method.hooks, Crash()])
        return build(method, *args, **kwargs)

    monkeypatch.setattr(textcl.training.session, "run_loop", loop)


def last_of_each(settings):
    """Settings `key=value`, of which the last of each key counts; a run refuses a key that is given twice."""
    return [
        f"{key}={value}" for key, value in dict(text.split("=", 1) for text in settings).items()
    ]
