"""Checkpoints: what is written comes back, and an unfinished one is never taken for finished."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from textcl.errors import RunError
from textcl.training import checkpoint


def trained(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(5, 3)).square().sum().backward()
        optimizer.step()
    return model, optimizer


def save(folder, step, model, optimizer):
    part = folder / f"step-{step:08d}.part"
    tensors = checkpoint.module_tensors({"m": model}) | checkpoint.optimizer_tensors(optimizer)
    checkpoint.write(part, 0, tensors, {"step": step})
    checkpoint.put_in_place(part, f"step-{step:08d}")


def test_weights_optimizer_and_generators_come_back(tmp_path):
    model, optimizer = trained(1)
    save(tmp_path, 7, model, optimizer)
    drawn = torch.rand(3), random.random(), np.random.rand(3)  # noqa: NPY002
    other, other_optimizer = trained(2)
    saved = checkpoint.read(checkpoint.newest(tmp_path), 0)
    checkpoint.load_modules({"m": other}, saved.tensors)
    checkpoint.load_optimizer(other_optimizer, saved.tensors)
    assert saved.meta == {"step": 7}
    again = torch.rand(3), random.random(), np.random.rand(3)  # noqa: NPY002
    assert torch.equal(drawn[0], again[0])
    assert drawn[1] == again[1]
    assert (drawn[2] == again[2]).all()
    x = torch.randn(5, 3)
    for net, opt in ((model, optimizer), (other, other_optimizer)):
        opt.zero_grad()
        net(x).square().sum().backward()
        opt.step()
    for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_an_unfinished_checkpoint_is_not_the_newest(tmp_path):
    model, optimizer = trained(1)
    save(tmp_path, 9, model, optimizer)
    (tmp_path / "step-00000010.part").mkdir()
    assert checkpoint.newest(tmp_path).name == "step-00000009"
    assert checkpoint.newest(tmp_path / "nothing") is None


def test_a_new_checkpoint_replaces_the_old(tmp_path):
    model, optimizer = trained(1)
    (tmp_path / "best.safetensors").write_text("stays")
    save(tmp_path, 9, model, optimizer)
    save(tmp_path, 10, model, optimizer)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.safetensors", "step-00000010"]


def test_more_processes_than_before_are_refused(tmp_path):
    model, optimizer = trained(1)
    save(tmp_path, 9, model, optimizer)
    with pytest.raises(RunError, match="started with fewer processes"):
        checkpoint.read(checkpoint.newest(tmp_path), 1)
