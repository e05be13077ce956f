"""The header of a folder's weights, and what its config.json may ask for beside it.

Nothing is built before both agree: a config.json with ten million layers would otherwise keep a machine busy for
minutes, and one that belongs to another model would fail deep inside of a library.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers import PretrainedConfig

from textcl.data.json_files import JsonObject
from textcl.errors import UserError

Shapes = Mapping[str, tuple[int, ...]]
"""Shape of every tensor, by name."""

_SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
_LAYER = re.compile(r"(?:^|\.)(?:layer|layers|h|blocks?)\.(\d+)\.")
_SHARED_LAYERS = 1000  # the most that a model whose layers share their weights may run


def read_shapes(folder: Path) -> Shapes:
    """Shapes of all tensors of a model, from the headers of its safetensors files.

    Raises:
        UserError: If there is no such file, or it is damaged.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in _files(folder):
        shapes |= read_file_shapes(path)
    return shapes


def read_file_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of one safetensors file, from its header.

    Raises:
        UserError: If there is no such file, or it is damaged.
    """
    try:
        with path.open("rb") as file:
            if file.read(23) == b"version https://git-lfs":
                raise UserError(f"{path} is a git-lfs pointer, not the weights: run git lfs pull")
        with safe_open(path, "pt") as tensors:
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is no intact safetensors file: {error}") from error


def check_config(config: PretrainedConfig, shapes: Shapes, folder: Path) -> None:
    """Refuse a config.json that does not describe the weights beside it.

    Args:
        config: Of the folder.
        shapes: What `read_shapes` gives.
        folder: Named in the messages.

    Raises:
        UserError: If a size is no positive whole number, or the weights have another.
    """
    place = f"{folder / 'config.json'}"
    sizes = {name: getattr(config, name, None) for name in _SIZES}
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{name} in {place} must be a positive whole number, not {value!r:.60}")
    width, heads = config.hidden_size, config.num_attention_heads
    if not getattr(config, "head_dim", None) and width % heads:
        raise UserError(f"hidden_size {width} in {place} is not a multiple of its {heads} heads")
    lengths = {length for shape in shapes.values() for length in shape}
    for name in ("hidden_size", "vocab_size"):
        if sizes[name] not in lengths:
            raise UserError(
                f"{place} says {name} {sizes[name]:,}, but no tensor of the weights beside it has that length: "
                "they belong to different models"
            )
    numbers = {int(match[1]) for name in shapes if (match := _LAYER.search(name))}
    available = len(numbers) or _SHARED_LAYERS
    if config.num_hidden_layers > available:
        raise UserError(
            f"{place} asks for {config.num_hidden_layers:,} layers, but the weights beside it have {available:,}"
        )


def _files(folder: Path) -> list[Path]:
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return [whole]
    if index.is_file():
        names = sorted(set(JsonObject.read(index).texts("weight_map").values()))
        for name in names:
            if Path(name).name != name:
                raise UserError(f"{index} points outside of its folder: {name!r:.80}")
        if not names:
            raise UserError(f"{index} names no files")
        return [folder / name for name in names]
    pickles = sorted(
        path.name for pattern in ("*.bin", "*.pt", "*.ckpt") for path in folder.glob(pattern)
    )
    if not pickles:
        raise UserError(f"{folder} holds no weights: expected model.safetensors beside config.json")
    raise UserError(
        f"{folder} holds its weights only as a pickle ({pickles[0]}), which textcl never opens: where you trust it, "
        "convert it once with `python -c 'from transformers import AutoModel as M; "
        f'd = "{folder}"; M.from_pretrained(d).save_pretrained(d)\'`'
    )
