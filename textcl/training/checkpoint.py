"""Checkpoints: all that a run needs to go on as if nothing had happened, without a pickle.

A checkpoint is a folder: `state.safetensors` with every tensor (weights, optimizer, queues), one file of generator
states a process, and `state.json` with the rest. It is written under another name and renamed when it is whole, so
that a kill at any moment leaves the last one intact.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from textcl.errors import RunError


def module_tensors(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Parameters and buffers of modules, by "module.name"; a tensor shared by two names is stored once for each."""
    return {
        f"{prefix}.{name}": tensor.detach().cpu().clone()
        for prefix, module in modules.items()
        for name, tensor in module.state_dict().items()
    }


def load_modules(modules: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> None:
    """Put back what `module_tensors` gave."""
    for prefix, module in modules.items():
        start = f"{prefix}."
        own = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
        module.load_state_dict(own, strict=True)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's moments and counters, by "optimizer.parameter.name"."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{name}": torch.as_tensor(value).detach().cpu().clone()
        for index, values in state.items()
        for name, value in values.items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def generator_states() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The states of torch's, Python's and numpy's generators."""
    tensors = {"cpu": torch.get_rng_state()}
    for device in range(torch.cuda.device_count()):
        tensors[f"cuda.{device}"] = torch.cuda.get_rng_state(device)
    name, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    version, inner, gauss_next = random.getstate()
    plain = {
        "numpy": [name, np.asarray(keys).tolist(), position, has_gauss, gauss],
        "python": [version, list(inner), gauss_next],
    }
    return tensors, plain


def load_generators(tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
    """Put back what `generator_states` gave."""
    torch.set_rng_state(tensors["cpu"])
    for device in range(torch.cuda.device_count()):
        if f"cuda.{device}" in tensors:
            torch.cuda.set_rng_state(tensors[f"cuda.{device}"], device)
    name, keys, position, has_gauss, gauss = plain["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))  # noqa: NPY002
    version, inner, gauss_next = plain["python"]
    random.setstate((version, tuple(inner), gauss_next))


def write(folder: Path, rank: int, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write this process's part of a checkpoint into `folder`, which is not yet in place.

    Args:
        folder: Temporary folder, shared by all processes.
        rank: This process; rank 0 writes the tensors and the meta, every rank its generators.
        tensors: Everything to restore.
        meta: Plain values to restore.
    """
    folder.mkdir(parents=True, exist_ok=True)
    states, plain = generator_states()
    save_file(states, folder / f"generators-{rank}.safetensors")
    (folder / f"generators-{rank}.json").write_text(json.dumps(plain))
    if rank == 0:
        save_file(dict(tensors), folder / "state.safetensors")
        (folder / "state.json").write_text(json.dumps(meta, indent=1))


def put_in_place(folder: Path, name: str) -> None:
    """Give a finished checkpoint its name, and remove the ones before it."""
    target = folder.parent / name
    if target.exists():
        shutil.rmtree(target)
    folder.rename(target)
    for other in folder.parent.iterdir():
        if other.is_dir() and other.name != name:
            shutil.rmtree(other)


def newest(folder: Path) -> Path | None:
    """The last finished checkpoint in a folder of them."""
    if not folder.is_dir():
        return None
    finished = [p for p in folder.iterdir() if p.name.startswith("step-") and p.suffix != ".part"]
    return max(finished, key=lambda path: int(path.name.removeprefix("step-")), default=None)


def read(folder: Path, rank: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and meta of a checkpoint, and set this process's generators.

    Raises:
        RunError: If the run had fewer processes.
    """
    states = folder / f"generators-{rank}.safetensors"
    if not states.exists():
        raise RunError(f"the run was started with fewer processes: {states.name} is missing")
    load_generators(load_file(states), json.loads(states.with_suffix(".json").read_text()))
    return load_file(folder / "state.safetensors"), json.loads((folder / "state.json").read_text())
