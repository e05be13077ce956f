"""Checkpoints: all that a run needs to go on as if nothing had happened, without a pickle.

A checkpoint is a folder: `state.safetensors` with every tensor (weights, optimizer, queues), one file of generator
states a process, and `state.json` with the rest. It is written under another name and renamed when it is whole, so
that a kill at any moment leaves the last one intact.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from textcl.data.files import whole_path, write_json
from textcl.data.json_files import read_as
from textcl.errors import RunError

_OWN = "own."  # prefix of what a process keeps for itself, beside its generators


@dataclass(frozen=True)
class Saved:
    """The content of a checkpoint.

    Args:
        tensors: Everything that all processes have alike.
        meta: Plain values.
        own: Tensors of this process.
    """

    tensors: Mapping[str, Tensor]
    meta: Mapping[str, object]
    own: Mapping[str, Tensor]


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


def generator_states() -> tuple[dict[str, Tensor], dict[str, list[object]]]:
    """The states of torch's, Python's and numpy's generators; of torch's on every device that is there."""
    tensors = {"cpu": torch.get_rng_state()}
    if device := torch.accelerator.current_accelerator(check_available=True):
        module = torch.get_device_module(device)
        for index in range(torch.accelerator.device_count()):
            # MPS has one generator and takes no index
            state = module.get_rng_state() if device.type == "mps" else module.get_rng_state(index)
            tensors[f"{device.type}.{index}"] = state
    name, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    version, inner, gauss_next = random.getstate()
    plain: dict[str, list[object]] = {
        "numpy": [name, np.asarray(keys).tolist(), position, has_gauss, gauss],
        "python": [version, list(inner), gauss_next],
    }
    return tensors, plain


def load_generators(tensors: Mapping[str, Tensor], plain: Mapping[str, list[object]]) -> None:
    """Put back what `generator_states` gave."""
    torch.set_rng_state(tensors["cpu"])
    if device := torch.accelerator.current_accelerator(check_available=True):
        module = torch.get_device_module(device)
        for index in range(torch.accelerator.device_count()):
            state = tensors.get(f"{device.type}.{index}")
            if state is not None:
                module.set_rng_state(*([state] if device.type == "mps" else [state, index]))
    name, keys, position, has_gauss, gauss = cast(
        "tuple[str, list[int], int, int, float]", plain["numpy"]
    )
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))  # noqa: NPY002
    version, inner, gauss_next = cast("tuple[int, list[int], float | None]", plain["python"])
    random.setstate((version, tuple(inner), gauss_next))


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a file of tensors whole or not at all.

    Raises:
        RunError: If the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_path(path) as part:
        save_file(dict(tensors), part)


def write(
    folder: Path,
    rank: int,
    tensors: Mapping[str, Tensor],
    meta: Mapping[str, object],
    own: Mapping[str, Tensor] | None = None,
) -> None:
    """Write this process's part of a checkpoint into `folder`, which is not yet in place.

    Args:
        folder: Temporary folder, shared by all processes.
        rank: This process; rank 0 writes the tensors and the meta, every rank its generators.
        tensors: Everything to restore.
        meta: Plain values to restore.
        own: Tensors of this process to restore.

    Raises:
        RunError: If the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    states, plain = generator_states()
    states |= {f"{_OWN}{name}": tensor for name, tensor in (own or {}).items()}
    save_tensors(states, folder / f"generators-{rank}.safetensors")
    write_json(folder / f"generators-{rank}.json", plain)
    if rank == 0:
        save_tensors(tensors, folder / "state.safetensors")
        write_json(folder / "state.json", meta)


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


def step_of(folder: Path) -> int:
    """Updates that a run had done at its last checkpoint; 0 without one."""
    place = newest(folder)
    return 0 if place is None else int(place.name.removeprefix("step-"))


def read(folder: Path, rank: int) -> Saved:
    """The content of a checkpoint; this process's generators are set.

    Raises:
        RunError: If the run had fewer processes, or the checkpoint is damaged.
    """
    states = folder / f"generators-{rank}.safetensors"
    if not states.exists():
        raise RunError(f"the run was started with fewer processes: {states.name} is missing")
    with damage_named(folder):
        tensors = load_file(states)
        own = {k.removeprefix(_OWN): v for k, v in tensors.items() if k.startswith(_OWN)}
        load_generators(tensors, read_as(states.with_suffix(".json"), dict[str, list[object]]))
        meta = read_as(folder / "state.json", dict[str, object])
        return Saved(load_file(folder / "state.safetensors"), meta, own)


@contextmanager
def damage_named(place: Path) -> Generator[None]:
    """One sentence for whatever a file that was cut or edited makes readers raise.

    Args:
        place: The checkpoint, or a file of the run.

    Raises:
        RunError: If the block fails.
    """
    try:
        yield
    except (
        *(ArithmeticError, AttributeError, LookupError, OSError),
        *(RuntimeError, SafetensorError, TypeError, ValueError),
    ) as error:
        fault = f"{type(error).__name__}: {' '.join(str(error).split()):.200}"
        raise RunError(
            f"{place} is damaged and the run cannot go on from it ({fault}): restore it, or start the run again with "
            "--overwrite"
        ) from error
