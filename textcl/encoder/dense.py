"""Layers behind the pooling, as Dense modules of a folder of sentence-transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from textcl.data.files import write_json
from textcl.data.json_files import JsonObject
from textcl.encoder.folder import Description
from textcl.encoder.weights import read_file_shapes
from textcl.errors import UserError

_ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    c.__name__: c for c in (nn.Tanh, nn.Identity, nn.ReLU, nn.GELU, nn.SiLU, nn.Sigmoid)
}


def load_dense(folder: Path) -> nn.Sequential:
    """A linear layer and its activation, from the folder of a Dense module.

    Raises:
        UserError: If the module is not a plain one, or its weights are not safetensors.
    """
    config = JsonObject.read(folder / "config.json")
    name = config.get("activation_function", str) or "torch.nn.modules.activation.Tanh"
    activation = _ACTIVATIONS.get(name.rpartition(".")[2]) if name.startswith("torch.nn.") else None
    plain = all(
        config.get(key, str) in (None, "sentence_embedding")
        for key in ("module_input_name", "module_output_name")
    )
    if activation is None or not plain or config.get("use_residual", bool):
        raise UserError(
            f"the Dense module in {folder} is not a plain layer that textcl knows: {dict(config.values)}"
        )
    path = folder / "model.safetensors"
    if not path.is_file():
        raise UserError(
            f"{folder} has no model.safetensors: textcl opens no pickles; load the model once in "
            "sentence-transformers where you trust it, and save it again"
        )
    wide, narrow = config.require("in_features", int), config.require("out_features", int)
    bias = config.get("bias", bool) is not False
    expected = {"linear.weight": (narrow, wide)} | ({"linear.bias": (narrow,)} if bias else {})
    shapes = read_file_shapes(path)
    if shapes != expected:
        raise UserError(f"{path} holds {shapes}, but its config.json asks for {expected}")
    linear = nn.Linear(wide, narrow, bias)
    weights = load_file(path)
    linear.load_state_dict({key.removeprefix("linear."): w.float() for key, w in weights.items()})
    return nn.Sequential(linear, activation())


def tanh_layer(width: int, std: float, device: torch.device) -> nn.Sequential:
    """A fresh square layer with tanh, its bias zero; drawn on the CPU, so that a seed gives one layer on all devices.

    Args:
        width: Columns that it takes and gives.
        std: Standard deviation of its weights.
        device: Where it goes.
    """
    linear = nn.Linear(width, width)
    nn.init.normal_(linear.weight, std=std)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(linear, nn.Tanh()).to(device)


def pooler_layer(backbone: nn.Module) -> nn.Sequential | None:
    """The pretrained pooler of a backbone, which acts on its first token, as a layer behind the pooling `cls`.

    Returns:
        None where there is none of that form: a linear layer with tanh.
    """
    pooler = getattr(backbone, "pooler", None)
    linear, activation = getattr(pooler, "dense", None), getattr(pooler, "activation", None)
    if not isinstance(linear, nn.Linear) or not isinstance(activation, nn.Tanh):
        return None
    return nn.Sequential(linear, activation)


def write_dense(folder: Path, layer: nn.Sequential) -> None:
    """Write a linear layer and its activation as a Dense module of sentence-transformers."""
    linear, activation = layer
    assert isinstance(linear, nn.Linear)
    config = {
        "in_features": linear.in_features,
        "out_features": linear.out_features,
        "bias": "bias" in dict(linear.named_parameters()),
        "activation_function": f"{type(activation).__module__}.{type(activation).__name__}",
    }
    folder.mkdir(exist_ok=True)
    write_json(folder / "config.json", config)
    weights = {
        f"linear.{k}": v.detach().float().cpu().contiguous() for k, v in linear.state_dict().items()
    }
    save_file(weights, folder / "model.safetensors")


def check_widths(description: Description, hidden: int) -> None:
    """Refuse layers behind the pooling that do not take what comes before them.

    Args:
        description: Of the folder.
        hidden: Width of the backbone's states.

    Raises:
        UserError: If a width does not fit.
    """
    if description.pooled_width not in (None, hidden):
        raise UserError(
            f"the Pooling module of {description.transformer} takes {description.pooled_width} columns, but the model "
            f"gives {hidden}: they belong to different models"
        )
    width = hidden * len((description.pooling or "").split("+"))
    for path in description.dense:
        config = JsonObject.read(path / "config.json")
        if config.require("in_features", int) != width:
            raise UserError(
                f"{config.place} takes {config.require('in_features', int)} columns, but what comes before it gives "
                f"{width}: they belong to different models"
            )
        width = config.require("out_features", int)
