"""Model folders: reading and writing the layout of sentence-transformers, with a fixture that proves the vectors.

What a folder holds besides a HuggingFace model: modules.json (the chain of modules), one folder for each of pooling,
Dense and Normalize, config_sentence_transformers.json (prompts), and from textcl also textcl.json (what the others
cannot say) and textcl_parity.json (texts and their vectors).
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from safetensors.torch import load_file, save_file
from tokenizers import normalizers
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from textcl.data.files import read_json
from textcl.encoder.backbone import quiet
from textcl.encoder.pooling import layers_of
from textcl.errors import RunError, UserError
from textcl.versions import own_version

PARITY_FILE = "textcl_parity.json"
NOTE_FILE = "textcl.json"

_ACTIVATIONS = {
    c.__name__: c for c in (nn.Tanh, nn.Identity, nn.ReLU, nn.GELU, nn.SiLU, nn.Sigmoid)
}

# The layout of sentence-transformers before version 6, which every version reads.
_ST = "sentence_transformers.models."
_ST_POOLINGS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
# Poolings that sentence-transformers expresses as a weighted mean of layers, then a mean over tokens.
_ST_LAYER_MEANS = ("first_last", "first_last_embedding", "top2")


@dataclass(frozen=True)
class Description:
    """What a folder says about the encoder in it.

    Args:
        transformer: Folder of the HuggingFace model.
        pooling: Name of the pooling.
        normalize: Whether vectors have length 1.
        dense: Folders of the layers behind the pooling.
        max_length: Most tokens of a text; None if the folder leaves it to the tokenizer.
        lowercase: Whether texts are lowercased before the tokenizer.
        prompts: Texts to put in front, by name.
        default_prompt: Name of the prompt that is used when none is asked for.
    """

    transformer: Path
    pooling: str = "mean"
    normalize: bool = False
    dense: tuple[Path, ...] = ()
    max_length: int | None = None
    lowercase: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict[str, str])
    default_prompt: str | None = None


@dataclass(frozen=True)
class Parity:
    """Texts and the float32 vectors that the encoder gave them when it was saved."""

    texts: Sequence[str]
    vectors: Float32[np.ndarray, "N D"]

    def check(self, vectors: Float32[np.ndarray, "N E"], folder: Path) -> None:
        """Compare what the loaded encoder gives.

        Raises:
            RunError: If the vectors differ by more than rounding on another machine explains.
        """
        allowed = 1e-4 * max(1.0, float(np.abs(self.vectors).max()))
        same_shape = vectors.shape == self.vectors.shape
        difference = float(np.abs(vectors - self.vectors).max()) if same_shape else np.inf
        if not difference <= allowed:
            raise RunError(
                f"the model in {folder} gives other vectors than when it was saved (largest difference "
                f"{difference:.3g}, allowed {allowed:.1g}): a file was changed, or a library computes differently"
            )


def describe(folder: Path) -> Description:
    """Read everything but the weights of a HuggingFace or sentence-transformers folder.

    Raises:
        UserError: If the folder uses a module, or an option of one, that textcl does not know.
    """
    note = read_json(folder / NOTE_FILE)
    if not (folder / "modules.json").is_file():
        return Description(folder, pooling=note.get("pooling", "mean"))
    modules: Sequence[Mapping[str, Any]] = read_json(folder / "modules.json")
    kinds = [_kind(module) for module in modules]
    paths = [_inside(folder, module["path"]) for module in modules]
    known = {"Transformer", "Pooling", "Dense", "Normalize"} | (
        {"WeightedLayerPooling"} if "pooling" in note else set[str]()
    )
    for place, kind in enumerate(kinds):
        first = (kind == "Transformer") == (place == 0)
        last = kind != "Normalize" or place == len(kinds) - 1
        if kind not in known or not (first and last):
            raise UserError(
                f"{folder} has the module {modules[place]['type']} at place {place}, which textcl does not know there: "
                "it reads a Transformer, then Pooling, then Dense layers, then Normalize"
            )
    transformer, settings = paths[0], _transformer_settings(paths[0])
    general = read_json(folder / "config_sentence_transformers.json")
    pools = [path for kind, path in zip(kinds, paths, strict=True) if kind == "Pooling"]
    return Description(
        transformer,
        pooling=note.get("pooling") or _pooling(pools, folder),
        normalize=kinds[-1] == "Normalize",
        dense=tuple(path for kind, path in zip(kinds, paths, strict=True) if kind == "Dense"),
        max_length=settings.get("max_seq_length"),
        lowercase=bool(settings.get("do_lower_case")),
        prompts={
            name: text
            for name, text in (general.get("prompts") or {}).items()
            if isinstance(text, str)
        },
        default_prompt=general.get("default_prompt_name"),
    )


def load_dense(folder: Path) -> nn.Sequential:
    """A linear layer and its activation, from the folder of a Dense module.

    Raises:
        UserError: If the module is not a plain one, or its weights are not safetensors.
    """
    config = read_json(folder / "config.json")
    name = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    activation = _ACTIVATIONS.get(name.rpartition(".")[2]) if name.startswith("torch.nn.") else None
    plain = all(
        config.get(key, "sentence_embedding") == "sentence_embedding"
        for key in ("module_input_name", "module_output_name")
    )
    if activation is None or not plain or config.get("use_residual"):
        raise UserError(
            f"the Dense module in {folder} is not a plain layer that textcl knows: {config}"
        )
    if not (folder / "model.safetensors").is_file():
        raise UserError(
            f"{folder} has no model.safetensors: textcl opens no pickles; load the model once in "
            "sentence-transformers where you trust it, and save it again"
        )
    weights = load_file(folder / "model.safetensors")
    linear = nn.Linear(config["in_features"], config["out_features"], config.get("bias", True))
    linear.load_state_dict({key.removeprefix("linear."): w.float() for key, w in weights.items()})
    return nn.Sequential(linear, activation())


def lowercase(tokenizer: PreTrainedTokenizerBase) -> None:
    """Make a tokenizer lowercase its texts first, as `do_lower_case` of sentence-transformers asks."""
    backend: Any = tokenizer.backend_tokenizer  # pyright: ignore[reportAttributeAccessIssue]
    old = [backend.normalizer] if backend.normalizer else []
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *old])


def read_parity(folder: Path) -> Parity | None:
    """The fixture of a folder, if it has one."""
    fixture = read_json(folder / PARITY_FILE)
    if not fixture:
        return None
    return Parity(fixture["texts"], np.asarray(fixture["vectors"], dtype=np.float32))


def write_folder(
    folder: Path,
    backbone: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    said: Description,
    dense: Sequence[nn.Sequential],
    parity: Parity,
) -> None:
    """Write a model in the layout of sentence-transformers.

    Args:
        folder: An empty folder.
        backbone: HuggingFace model.
        tokenizer: Its tokenizer; carries the maximum length.
        said: Pooling, normalisation, maximum length and prompts.
        dense: Layers behind the pooling.
        parity: Texts and vectors that loading will check.
    """
    with quiet():
        backbone.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    modules = [("", "Transformer")]
    settings = {"max_seq_length": said.max_length, "do_lower_case": False}
    _write_json(folder / "sentence_bert_config.json", settings)
    width = int(backbone.config.hidden_size)
    if said.pooling in _ST_LAYER_MEANS:
        modules.append((f"{len(modules)}_WeightedLayerPooling", "WeightedLayerPooling"))
        _write_layer_mean(folder / modules[-1][0], backbone, said.pooling)
        config = read_json(folder / "config.json")
        _write_json(folder / "config.json", {**config, "output_hidden_states": True})
    modules.append((f"{len(modules)}_Pooling", "Pooling"))
    _write_json(folder / modules[-1][0] / "config.json", _pooling_config(said.pooling, width))
    for layer in dense:
        modules.append((f"{len(modules)}_Dense", "Dense"))
        _write_dense(folder / modules[-1][0], layer)
    if said.normalize:
        modules.append((f"{len(modules)}_Normalize", "Normalize"))
        _write_json(folder / modules[-1][0] / "config.json", {})
    chain = [
        {"idx": place, "name": str(place), "path": path, "type": _ST + kind}
        for place, (path, kind) in enumerate(modules)
    ]
    _write_json(folder / "modules.json", chain)
    general = {
        "__version__": versions(),
        "model_type": "SentenceTransformer",
        "prompts": dict(said.prompts),
        "default_prompt_name": said.default_prompt,
        "similarity_fn_name": "cosine",
    }
    _write_json(folder / "config_sentence_transformers.json", general)
    _write_json(folder / NOTE_FILE, {"pooling": said.pooling, "versions": versions()})
    fixture = {"texts": list(parity.texts), "vectors": parity.vectors.tolist()}
    _write_json(folder / PARITY_FILE, fixture)


def known_elsewhere(pooling: str) -> bool:
    """Whether sentence-transformers can compute this pooling."""
    return pooling in _ST_LAYER_MEANS or all(part in _ST_POOLINGS for part in pooling.split("+"))


def versions() -> dict[str, str]:
    """Versions of the libraries that a vector depends on."""
    named = {"sentence_transformers": "sentence-transformers", "transformers": "transformers"}
    found = {key: importlib.metadata.version(name) for key, name in named.items()}
    return {**found, "pytorch": str(torch.__version__), "textcl": own_version()}


def _kind(module: Mapping[str, Any]) -> str:
    """Transformer, Pooling, …; the full type where it is not sentence-transformers' own."""
    kind = str(module["type"])
    return kind.rpartition(".")[2] if kind.startswith("sentence_transformers.") else kind


def _inside(folder: Path, path: str) -> Path:
    inner = (folder / path).resolve()
    if not inner.is_relative_to(folder.resolve()):
        raise UserError(f"{folder / 'modules.json'} points outside of its folder: {path}")
    return folder / path


def _transformer_settings(folder: Path) -> Mapping[str, Any]:
    files = sorted(folder.glob("sentence_*_config.json"))
    return read_json(files[0]) if files else {}


def _pooling(folders: Sequence[Path], folder: Path) -> str:
    if len(folders) != 1:
        raise UserError(f"{folder} has {len(folders)} Pooling modules where textcl expects one")
    config = read_json(folders[0] / "config.json")
    if config.get("include_prompt") is False:
        raise UserError(
            f"the Pooling module in {folders[0]} leaves prompts out of the mean (include_prompt), which textcl cannot"
        )
    mode = config.get("pooling_mode")
    if mode is None:
        on = [name for name, key in _ST_POOLINGS.items() if config.get(key)]
        return "+".join(on) or "mean"
    return mode if isinstance(mode, str) else "+".join(mode)


def _pooling_config(pooling: str, width: int) -> dict[str, Any]:
    pooling = "mean" if pooling in _ST_LAYER_MEANS else pooling
    if pooling in _ST_POOLINGS:
        modes = {key: name == pooling for name, key in _ST_POOLINGS.items()}
        return {"word_embedding_dimension": width, **modes, "include_prompt": True}
    # Several modes keep their order only in the newer form. A pooling that sentence-transformers lacks makes it
    # stop here and name the pooling; without this it would quietly take the mean.
    parts = pooling.split("+")
    return {"embedding_dimension": width, "pooling_mode": parts, "include_prompt": True}


def _write_layer_mean(folder: Path, backbone: PreTrainedModel, pooling: str) -> None:
    layers = backbone.config.num_hidden_layers
    weights = torch.zeros(layers + 1)
    for layer in layers_of(pooling):
        weights[layer] += 1
    width = backbone.config.hidden_size
    config = {"word_embedding_dimension": width, "layer_start": 0, "num_hidden_layers": layers}
    _write_json(folder / "config.json", config)
    save_file({"layer_weights": weights}, folder / "model.safetensors")


def _write_dense(folder: Path, layer: nn.Sequential) -> None:
    linear, activation = layer
    assert isinstance(linear, nn.Linear)
    config = {
        "in_features": linear.in_features,
        "out_features": linear.out_features,
        "bias": "bias" in dict(linear.named_parameters()),
        "activation_function": f"{type(activation).__module__}.{type(activation).__name__}",
    }
    _write_json(folder / "config.json", config)
    weights = {
        f"linear.{k}": v.detach().float().cpu().contiguous() for k, v in linear.state_dict().items()
    }
    save_file(weights, folder / "model.safetensors")


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
