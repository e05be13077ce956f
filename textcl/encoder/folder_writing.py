"""Writing a model folder in the layout of sentence-transformers, which every version of it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from textcl.data.files import write_json
from textcl.data.json_files import JsonObject
from textcl.encoder.adapter import has_adapter, save_adapter
from textcl.encoder.backbone import quiet
from textcl.encoder.dense import write_dense
from textcl.encoder.folder import (
    GENERAL_FILE,
    MODULES_FILE,
    NOTE_FILE,
    PARITY_FILE,
    ST_LAYER_MEANS,
    ST_POOLINGS,
    Description,
    library_versions,
)
from textcl.encoder.parity import Parity
from textcl.encoder.pooling import layers_of
from textcl.encoder.static import UNCUT, StaticBackbone, write_static
from textcl.encoder.tokenizing import cut_at

_ST = "sentence_transformers.models."


def write_folder(
    folder: Path,
    backbone: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    description: Description,
    dense: Sequence[nn.Sequential],
    parity: Parity,
) -> None:
    """Write a model in the layout of sentence-transformers.

    Args:
        folder: An empty folder.
        backbone: HuggingFace model; where it has an adapter, that alone is written, with the name of its base.
        tokenizer: Its tokenizer.
        description: Pooling, normalisation, maximum length, prompts and more.
        dense: Layers behind the pooling.
        parity: Texts and vectors that loading will check.
    """
    if isinstance(backbone, StaticBackbone):
        length = description.max_length or UNCUT
        write_static(folder, backbone, tokenizer, length)
        kept = {
            "normalize": description.normalize,
            "max_length": length if length < UNCUT else None,
        }
        described = replace(description, kept={**description.kept, **kept})  # for model2vec
        _write_chain(folder, [("", "StaticEmbedding")], described, dense)
    else:
        with quiet():
            if has_adapter(backbone):
                save_adapter(backbone, folder)
            else:
                backbone.save_pretrained(folder)
        write_tokenizer(folder, tokenizer, description.max_length)
        write_modules(folder, backbone.config, description, dense)
    _write_json(
        folder / NOTE_FILE, {"pooling": description.pooling, "versions": library_versions()}
    )
    fixture: dict[str, object] = {
        "texts": list(parity.texts),
        "vectors": parity.vectors.tolist(),
    }
    if parity.rounding != Parity.rounding:  # of weights in lower precision
        fixture["rounding"] = parity.rounding
    _write_json(folder / PARITY_FILE, fixture)


def write_tokenizer(
    folder: Path, tokenizer: PreTrainedTokenizerBase, max_length: int | None
) -> None:
    """Write a tokenizer that names the length of the model, and no other.

    Files of older libraries carry a second length, which fastembed would cut texts to.
    """
    if max_length is not None:
        tokenizer.model_max_length = max_length
    tokenizer.init_kwargs.pop("max_length", None)
    with quiet(), cut_at(tokenizer, max_length):
        tokenizer.save_pretrained(folder)


def write_modules(
    folder: Path,
    backbone: PretrainedConfig,
    description: Description,
    dense: Sequence[nn.Sequential],
) -> None:
    """Write what sentence-transformers reads beside a model: the chain of modules, prompts and more.

    Args:
        folder: Holds config.json already.
        backbone: Configuration of the model.
        description: As for `write_folder`.
        dense: Layers behind the pooling.
    """
    modules = [("", "Transformer")]
    settings = {"max_seq_length": description.max_length, "do_lower_case": False}
    _write_json(folder / "sentence_bert_config.json", settings)
    width = int(backbone.hidden_size)
    if description.pooling in ST_LAYER_MEANS:
        modules.append((f"{len(modules)}_WeightedLayerPooling", "WeightedLayerPooling"))
        _write_layer_mean(folder / modules[-1][0], backbone, description.pooling)
        config = JsonObject.read(folder / "config.json").values
        _write_json(folder / "config.json", {**config, "output_hidden_states": True})
    modules.append((f"{len(modules)}_Pooling", "Pooling"))
    _write_json(
        folder / modules[-1][0] / "config.json",
        _pooling_config(description.pooling or "mean", width, description.include_prompt),
    )
    _write_chain(folder, modules, description, dense)


def _write_chain(
    folder: Path,
    modules: list[tuple[str, str]],
    description: Description,
    dense: Sequence[nn.Sequential],
) -> None:
    """Write the modules behind the first ones (path and kind), their list and the general settings."""
    for layer in dense:
        modules.append((f"{len(modules)}_Dense", "Dense"))
        write_dense(folder / modules[-1][0], layer)
    if description.normalize:
        modules.append((f"{len(modules)}_Normalize", "Normalize"))
        _write_json(folder / modules[-1][0] / "config.json", {})
    chain = [
        {"idx": place, "name": str(place), "path": path, "type": _ST + kind}
        for place, (path, kind) in enumerate(modules)
    ]
    _write_json(folder / MODULES_FILE, chain)
    general = {
        **description.kept,
        "__version__": library_versions(),
        "model_type": "SentenceTransformer",
        "prompts": dict(description.prompts),
        "default_prompt_name": description.default_prompt,
        "similarity_fn_name": description.similarity,
    }
    if description.truncate_dim is not None:
        general["truncate_dim"] = description.truncate_dim
    _write_json(folder / GENERAL_FILE, general)


def _pooling_config(pooling: str, width: int, include_prompt: bool) -> dict[str, object]:
    pooling = "mean" if pooling in ST_LAYER_MEANS else pooling
    if pooling in ST_POOLINGS:
        modes = {key: name == pooling for name, key in ST_POOLINGS.items()}
        return {"word_embedding_dimension": width, **modes, "include_prompt": include_prompt}
    # Several modes keep their order only in the newer form. A pooling that sentence-transformers lacks makes it
    # stop here and name the pooling; without this it would quietly take the mean.
    parts = pooling.split("+")
    return {"embedding_dimension": width, "pooling_mode": parts, "include_prompt": include_prompt}


def _write_layer_mean(folder: Path, backbone: PretrainedConfig, pooling: str) -> None:
    layers = backbone.num_hidden_layers
    weights = torch.zeros(layers + 1)
    for layer in layers_of(pooling):
        weights[layer] += 1
    width = backbone.hidden_size
    config = {"word_embedding_dimension": width, "layer_start": 0, "num_hidden_layers": layers}
    _write_json(folder / "config.json", config)
    save_file({"layer_weights": weights}, folder / "model.safetensors")


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    write_json(path, content)
