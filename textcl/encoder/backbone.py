"""Loading the HuggingFace model and tokenizer of a local folder: safe formats only, changed by its config."""

from __future__ import annotations

import inspect
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForTextEncoding,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_MAPPING
from transformers.utils import logging as hf_logging

from textcl.data.json_files import JsonObject
from textcl.encoder.decoders import ENCODER_HALVES, set_bidirectional
from textcl.encoder.dense import pooler_layer
from textcl.encoder.hub import is_offline
from textcl.encoder.storage import loading_options
from textcl.encoder.weights import check_config, read_shapes
from textcl.errors import UserError

# Embedding, attention probabilities, attention output and feed-forward output, by the names of the families.
# Dropout of classifiers and poolers has other names and stays as it is.
_DROPOUTS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "dropout",
    "attention_dropout",
    "embedding_dropout",
    "mlp_dropout",
    "dropout_rate",
)


_UNLIMITED = 10**9

_VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "*.model",
    "*.tiktoken",
)

EXPORT_FILE = "textcl_export.json"
"""Marks the folder of an encoder that was exported to another library."""


def load_backbone(
    folder: Path,
    *,
    num_layers: int | None = None,
    dropout: float | None = None,
    bidirectional: bool | None = None,
    weights: str = "float32",
    pooler: bool = False,
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """The encoder of a folder in eval mode.

    Args:
        folder: Local folder with config.json and model.safetensors (or its shards).
        num_layers: Keep only so many layers, the first ones.
        dropout: Probability in [0, 1) of all dropout between and inside the layers.
        bidirectional: Whether the tokens of a decoder see both sides of them; what its configuration says when None.
        weights: What they are kept as, whatever the checkpoint holds.
        pooler: Whether the pretrained pooler is wanted.
        trust_remote_code: Whether Python code of the folder may run.

    Raises:
        UserError: If the folder holds no such model, or a setting does not fit it.
    """
    config = _load_config(folder, trust_remote_code)
    check_config(config, read_shapes(folder), folder)
    if num_layers is not None:
        _cut_layers(config, num_layers, folder)
    if dropout is not None:
        _set_dropout(config, dropout)
    if bidirectional is not None:
        set_bidirectional(config, bidirectional)
    options = {"trust_remote_code": trust_remote_code, **loading_options(weights)}
    if _takes_pooler(config):
        options["add_pooling_layer"] = pooler
    with quiet():
        try:
            model, loading = _kind_of(config).from_pretrained(
                folder,
                config=config,
                use_safetensors=True,
                local_files_only=not trust_remote_code or is_offline(),
                output_loading_info=True,
                **options,
            )
        except Exception as error:  # every architecture fails in its own way
            raise UserError(f"{folder} cannot be loaded: {_first_line(error)}") from error
    missing = [key for key in loading["missing_keys"] if pooler or not key.startswith("pooler.")]
    if missing:
        raise UserError(
            f"the weights in {folder} lack {len(missing)} tensors that its config.json asks for, among them "
            f"{min(missing)}: the folder is damaged or its config.json belongs to another model"
        )
    if pooler and pooler_layer(model) is None:
        raise UserError(
            f"pooling 'cls_pooler' needs a pretrained pooler, a layer with tanh, which {config.model_type} models "
            "lack: use 'cls'"
        )
    return model.eval()


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder.

    Raises:
        UserError: If the folder holds none that can be loaded, or only special tokens.
    """
    # without one, a library would make up a vocabulary of special tokens
    if not has_tokenizer(folder) and not trust_remote_code:
        raise UserError(
            f"{folder} has no tokenizer: expected tokenizer.json, vocab.txt or another vocabulary beside the model"
        )
    for path in folder.glob("*token*.json"):
        JsonObject.read(path)
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(
                folder,
                trust_remote_code=trust_remote_code,
                local_files_only=not trust_remote_code or is_offline(),
            )
            words = len(tokenizer) - len(tokenizer.all_special_ids)
    except Exception as error:  # every tokenizer class fails in its own way
        raise UserError(
            f"{folder} has no tokenizer that can be loaded: {_first_line(error)}"
        ) from error
    if words < 1:
        raise UserError(
            f"the tokenizer in {folder} knows {len(tokenizer)} tokens, all of them special"
        )
    return tokenizer


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a vocabulary."""
    return any(path for pattern in _VOCABULARIES for path in folder.glob(pattern))


def check_vocabulary(
    backbone: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    """Refuse a tokenizer that gives ids which the model has no embedding for.

    Raises:
        UserError: If there is such an id.
    """
    rows = int(backbone.get_input_embeddings().weight.shape[0])  # pyright: ignore[reportArgumentType, reportIndexIssue, reportOptionalMemberAccess]
    highest = max(tokenizer.get_vocab().values())
    if highest >= rows:
        raise UserError(
            f"the tokenizer in {folder} gives token ids up to {highest:,}, but the model has embeddings for {rows:,}: "
            "it belongs to another model, or tokens were added without model.resize_token_embeddings(len(tokenizer))"
        )


def longest_row(backbone: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Most tokens of a row that model and tokenizer take."""
    positions = getattr(backbone.config, "max_position_embeddings", None) or _UNLIMITED
    table = getattr(getattr(backbone, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    if padding is not None:  # RoBERTa counts its positions from there
        positions -= padding + 1
    longest = min(positions, tokenizer.model_max_length)
    return longest if longest < _UNLIMITED else 512


def checkpoint_activations(backbone: PreTrainedModel) -> None:
    """Recompute activations in the backward pass instead of keeping them."""
    newer = getattr(backbone, "activation_checkpointing_enable", None)
    (newer or backbone.gradient_checkpointing_enable)({"use_reentrant": False})


@contextmanager
def quiet() -> Generator[None]:
    """Keep transformers' progress bars and load reports off the screen."""
    level, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()


def check_backbone(folder: Path) -> None:
    """Refuse a folder whose configuration or weights are missing, damaged or at odds, without reading the weights.

    Raises:
        UserError: If they are.
    """
    check_config(_load_config(folder, False), read_shapes(folder), folder)


def _load_config(folder: Path, trust_remote_code: bool) -> PretrainedConfig:
    if (folder / EXPORT_FILE).is_file():
        raise UserError(
            f"{folder} was exported to another library: encode and eval take it, but torch needs the model itself"
        )
    if (folder / "adapter_config.json").is_file():
        raise UserError(
            f"{folder} holds an adapter, not a whole model, and is the base of another adapter: merge it first, with "
            "textcl export --backend torch"
        )
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} is not a model folder: it has no config.json")
    JsonObject.read(folder / "config.json")
    try:
        with quiet():
            config = AutoConfig.from_pretrained(
                folder,
                trust_remote_code=trust_remote_code,
                local_files_only=not trust_remote_code or is_offline(),
            )
    except Exception as error:  # every configuration class fails in its own way
        custom = "custom code" in str(error)
        hint = "; pass trust_remote_code=True if you trust it" if custom else ""
        raise UserError(
            f"the model in {folder} cannot be loaded: {_first_line(error)}{hint}"
        ) from error
    if getattr(config, "text_config", None) is not None:
        raise UserError(
            f"{folder} holds a {config.model_type} model that reads more than text, which textcl does not run: "
            "expected a folder of its text model alone"
        )
    two = config.is_encoder_decoder or hasattr(config, "num_decoder_layers")
    if two and config.model_type not in ENCODER_HALVES:
        raise UserError(
            f"{folder} holds a {config.model_type} model of an encoder and a decoder, which textcl does not run: "
            "expected an encoder such as BERT, a decoder such as Qwen3, or T5, whose encoder is taken"
        )
    config.output_hidden_states = False
    config._attn_implementation = None  # pyright: ignore[reportPrivateUsage] # a folder may not name a hub kernel
    return config


def _kind_of(config: PretrainedConfig) -> type[AutoModel | AutoModelForTextEncoding]:
    return AutoModelForTextEncoding if config.model_type in ENCODER_HALVES else AutoModel


def _cut_layers(config: PretrainedConfig, num_layers: int, folder: Path) -> None:
    available = config.num_hidden_layers
    if not 1 <= num_layers <= available:
        raise UserError(
            f"num_layers={num_layers} does not fit {folder}, which has {available} layers: choose 1 to {available}"
        )
    config.num_hidden_layers = num_layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:num_layers]


def _set_dropout(config: PretrainedConfig, dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise UserError(f"dropout must be at least 0 and below 1, not {dropout}")
    fields = [field for field in _DROPOUTS if hasattr(config, field)]
    if not fields:
        raise UserError(f"dropout cannot be set: {config.model_type} models have no such field")
    for field in fields:
        setattr(config, field, dropout)


def _takes_pooler(config: PretrainedConfig) -> bool:
    model_class = MODEL_MAPPING.get(type(config), None)
    if isinstance(model_class, tuple):
        model_class = model_class[0]
    return (
        model_class is not None and "add_pooling_layer" in inspect.signature(model_class).parameters
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return (
        " ".join(lines[:2] if lines[0].endswith(":") else lines[:1]).rstrip(".")
        if lines
        else type(error).__name__
    )
