"""Reading a model folder: every file and key that decides a vector is honoured, or refused by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from tokenizers import Tokenizer, normalizers
from transformers import PreTrainedTokenizerBase

from textcl.data.json_files import JsonObject, read_as
from textcl.encoder.adapter import CONFIG_FILE
from textcl.encoder.folder import (
    GENERAL_FILE,
    MODULES_FILE,
    NOTE_FILE,
    PARITY_FILE,
    ST_LAYER_MEANS,
    ST_POOLINGS,
    Description,
)
from textcl.encoder.parity import Parity
from textcl.encoder.pooling import check_pooling
from textcl.encoder.similarity import SIMILARITIES
from textcl.errors import UserError

# What only a folder of sentence-transformers, or of textcl, holds.
_TRACES = (GENERAL_FILE, NOTE_FILE, PARITY_FILE, "*_Pooling", "sentence_*_config.json")

_GENERAL_KEYS = {
    "prompts",
    "default_prompt_name",
    "similarity_fn_name",
    "truncate_dim",
    "model_type",
    "__version__",
}

# Values of sentence_bert_config.json under which textcl computes the same vectors.
_PLAIN_TRANSFORMER: dict[str, tuple[object, ...]] = {
    "transformer_task": (None, "feature-extraction"),
    "module_output_name": (None, "token_embeddings"),
    "processing_kwargs": (None, {}),
    "query_length": (None,),
    "document_length": (None,),
    "query_expansion": (None,),
    "tokenizer_name_or_path": (None,),
}
_LIBRARY_OPTIONS = (
    "model_args",
    "model_kwargs",
    "tokenizer_args",
    "processor_kwargs",
    "config_args",
    "config_kwargs",
)
_FIRST = {"Transformer", "StaticEmbedding"}
_WEIGHTS_ALONE = {"StaticEmbedding", "WeightedLayerPooling"}  # modules without a config.json
_HARMLESS = {"trust_remote_code", "dtype", "torch_dtype", "attn_implementation", "use_cache"}


@dataclass(frozen=True)
class _Module:
    kind: str
    path: Path
    type: str


def read_description(folder: Path) -> Description:
    """Read everything but the weights of a HuggingFace or sentence-transformers folder.

    Raises:
        UserError: If a file is missing or damaged, or the folder uses a module, or an option of one, that textcl
            does not know.
    """
    if not (folder / MODULES_FILE).is_file():
        traces = [path.name for pattern in _TRACES for path in sorted(folder.glob(pattern))]
        if traces:
            raise UserError(
                f"{folder / MODULES_FILE} is missing, but the folder has {traces[0]}: it was a folder of "
                "sentence-transformers; copy it again, whole"
            )
        config = JsonObject.read_if_present(folder / "config.json")
        if config is not None and _is_model2vec(config):
            return _of_model2vec(Description(folder), config)
        return Description(folder)
    note = JsonObject.read_if_present(folder / NOTE_FILE)
    modules = _chain(folder, note is not None)
    general, more = _general(folder)
    base = Description(
        modules[0].path,
        normalize=_normalizes(modules[-1]),
        dense=tuple(module.path for module in modules if module.kind == "Dense"),
        prompts=general.texts("prompts"),
        default_prompt=_default_prompt(general),
        truncate_dim=_positive(general, "truncate_dim"),
        similarity=_similarity(general),
        kept={k: v for k, v in general.values.items() if k not in _GENERAL_KEYS},
        notes=more,
    )
    if modules[0].kind == "StaticEmbedding":
        config = JsonObject.read_if_present(base.transformer / "config.json")
        if config is not None:  # sentence-transformers writes none
            return _of_model2vec(replace(base, notes=()), config, chain=folder / MODULES_FILE)
        return replace(base, pooling="mean", static=True)
    settings, notes = _transformer_settings(modules[0].path)
    pools = [module.path for module in modules if module.kind == "Pooling"]
    if len(pools) != 1:
        raise UserError(f"{folder} has {len(pools)} Pooling modules where textcl expects one")
    pooling = JsonObject.read(pools[0] / "config.json")
    width = pooling.get("embedding_dimension", int) or pooling.get("word_embedding_dimension", int)
    return replace(
        base,
        pooling=_pooling(pooling, note),
        pooled_width=width,
        max_length=_positive(settings, "max_seq_length"),
        lowercase=bool(settings.get("do_lower_case", bool)),
        include_prompt=pooling.get("include_prompt", bool) is not False,
        notes=(*notes, *more),
    )


def _is_model2vec(config: JsonObject) -> bool:
    return config.values.get("model_type") == "model2vec" or "embedding_dtype" in config.values


def _of_model2vec(base: Description, config: JsonObject, chain: Path | None = None) -> Description:
    """Description by a configuration of model2vec, which must agree with the modules where there are any."""
    normalize = bool(config.get("normalize", bool))
    if chain is not None and normalize != base.normalize:
        ends = "ends in Normalize" if base.normalize else "has no Normalize"
        raise UserError(
            f"{config.place} sets normalize to {str(normalize).lower()}, but {chain} {ends}: model2vec and "
            "sentence-transformers would give other vectors than each other; make both say the same"
        )
    shorter = (
        f"{config.place} asks for no normalisation: texts with unknown tokens get shorter vectors than those of "
        "model2vec, in the same direction"
    )
    return replace(
        base,
        pooling="mean",
        static=True,
        drops_unknown=True,
        normalize=normalize,
        max_length=_positive(config, "max_length"),
        notes=base.notes if normalize else (*base.notes, shorter),
    )


def lowercase(tokenizer: PreTrainedTokenizerBase) -> None:
    """Make a tokenizer lowercase its texts first, as `do_lower_case` of sentence-transformers asks."""
    backend = cast(Tokenizer, tokenizer.backend_tokenizer)  # pyright: ignore[reportAttributeAccessIssue]
    old = [backend.normalizer] if backend.normalizer else []
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *old])


def read_parity(folder: Path) -> Parity | None:
    """The texts and vectors that were saved with a model; None for a folder that textcl did not write.

    Raises:
        UserError: If textcl wrote the folder and they are missing, or they are damaged.
    """
    if not (folder / NOTE_FILE).is_file() and not (folder / PARITY_FILE).is_file():
        return None
    fixture = JsonObject.read(folder / PARITY_FILE)
    texts = fixture.require("texts", list[str])
    rounding = fixture.get("rounding", float) or Parity.rounding
    if not 0 < rounding <= 0.1:
        raise UserError(
            f"'rounding' of {fixture.place} must be above 0 and at most 0.1, not {rounding}"
        )
    return Parity(texts, fixture.table("vectors", rows=len(texts)), rounding)


def _chain(folder: Path, ours: bool) -> list[_Module]:
    """The modules of modules.json: Transformer and Pooling or StaticEmbedding, then Dense layers, then Normalize."""
    file = folder / MODULES_FILE
    listed = [
        JsonObject.of(value, f"module {place} of {file}")
        for place, value in enumerate(read_as(file, list[object]))
    ]
    modules = [_module(folder, entry) for entry in listed]
    if not modules:
        raise UserError(f"{file} lists no modules: expected a Transformer and a Pooling")
    layer_means = {"WeightedLayerPooling"} if ours else set[str]()
    static = modules[0].kind == "StaticEmbedding"
    known = {"Dense", "Normalize"} | (set() if static else {"Pooling"} | layer_means)
    for place, module in enumerate(modules):
        first = (module.kind in _FIRST) == (place == 0)
        last = module.kind != "Normalize" or place == len(modules) - 1
        if module.kind not in known | _FIRST or not (first and last):
            raise UserError(
                f"{folder} has the module {module.type} at place {place}, which textcl does not know there: "
                "it reads a Transformer and Pooling, or a StaticEmbedding, then Dense layers, then Normalize"
            )
        needed = "model.safetensors" if module.kind in _WEIGHTS_ALONE else "config.json"
        # git keeps no empty folders, and a Normalize has no settings
        adapter = module.kind == "Transformer" and (module.path / CONFIG_FILE).is_file()
        if module.kind != "Normalize" and not adapter and not (module.path / needed).is_file():
            raise UserError(
                f"{module.path / needed} is missing, but {file} names a {module.kind} there: copy the folder again, "
                "whole"
            )
    return modules


def _module(folder: Path, entry: JsonObject) -> _Module:
    kind, path = entry.require("type", str), entry.require("path", str)
    inner = (folder / path).resolve()
    if not inner.is_relative_to(folder.resolve()):
        raise UserError(f"{folder / MODULES_FILE} points outside of its folder: {path}")
    own = kind.startswith("sentence_transformers.")
    return _Module(kind.rpartition(".")[2] if own else kind, folder / path, kind)


def _transformer_settings(folder: Path) -> tuple[JsonObject, tuple[str, ...]]:
    files = sorted(folder.glob("sentence_*_config.json"))
    if not files:
        missing = f"{folder} has no sentence_bert_config.json: the longest text is what its tokenizer says"
        return JsonObject({}, f"{folder}"), (missing,)
    settings = JsonObject.read(files[0])
    for key, allowed in _PLAIN_TRANSFORMER.items():
        if settings.values.get(key) not in allowed:
            raise _unknown(settings, key)
    for key in _LIBRARY_OPTIONS:
        given = settings.values.get(key) or {}
        if set(JsonObject.of(given, f"{key!r} of {settings.place}").values) - _HARMLESS:
            raise _unknown(settings, key)
    modalities = settings.values.get("modality_config")
    if modalities is not None:
        text = JsonObject.of(modalities, f"'modality_config' of {settings.place}").values.get(
            "text"
        )
        plain = JsonObject.of(text, f"'modality_config' of {settings.place}")
        if plain.get("method", str) != "forward":
            raise _unknown(settings, "modality_config")
    return settings, ()


def _general(folder: Path) -> tuple[JsonObject, tuple[str, ...]]:
    path = folder / GENERAL_FILE
    general = JsonObject.read_if_present(path)
    if general is None:
        if (folder / NOTE_FILE).is_file():
            raise UserError(
                f"{path} is missing: textcl wrote it with the folder; copy it again, whole"
            )
        return JsonObject({}, str(path)), (f"{folder} has no {GENERAL_FILE}: no prompts are known",)
    if not general.values:
        raise UserError(f"{path} is empty: expected at least the prompts of the model")
    kind = general.get("model_type", str)
    if kind not in (None, "SentenceTransformer"):
        raise UserError(
            f"{path} says the model is a {kind}, not a SentenceTransformer: textcl cannot use it"
        )
    return general, ()


def _default_prompt(general: JsonObject) -> str | None:
    name, prompts = general.get("default_prompt_name", str), general.texts("prompts")
    if name is not None and name not in prompts:
        raise UserError(
            f"{general.place} names the default prompt {name!r}, which is not among its prompts: "
            f"{', '.join(prompts) or 'it has none'}"
        )
    return name


def _similarity(general: JsonObject) -> str:
    name = general.get("similarity_fn_name", str) or "cosine"
    if name not in SIMILARITIES:
        raise UserError(
            f"{general.place} names the similarity {name!r}, which textcl does not know: expected one of "
            f"{', '.join(SIMILARITIES)}"
        )
    return name


def _positive(values: JsonObject, key: str) -> int | None:
    value = values.get(key, int)
    if value is not None and value < 1:
        raise UserError(f"{key!r} of {values.place} must be at least 1, not {value}")
    return value


def _normalizes(last: _Module) -> bool:
    if last.kind != "Normalize":
        return False
    config = JsonObject.read_if_present(last.path / "config.json")
    for key in ("module_input_name", "module_output_name"):
        if config is not None and config.get(key, str) not in (None, "sentence_embedding"):
            raise _unknown(config, key)
    return True


def _pooling(config: JsonObject, note: JsonObject | None) -> str:
    written = _written_pooling(config)
    if note is None:
        return written
    noted = check_pooling(note.require("pooling", str))
    if written != ("mean" if noted in ST_LAYER_MEANS else noted):
        raise UserError(
            f"{config.place} says pooling {written!r} and {note.place} says {noted!r}: the files belong to "
            "different models"
        )
    return noted


def _written_pooling(config: JsonObject) -> str:
    mode = config.values.get("pooling_mode")
    if isinstance(mode, str):
        return check_pooling(mode)
    if mode is not None:
        return check_pooling("+".join(config.require("pooling_mode", list[str])))
    on = [name for name, key in ST_POOLINGS.items() if config.get(key, bool)]
    if not on:
        raise UserError(
            f"{config.place} names no pooling: expected pooling_mode, one of {', '.join(ST_POOLINGS)}"
        )
    return "+".join(on)


def _unknown(config: JsonObject, key: str) -> UserError:
    return UserError(
        f"{config.place} sets {key} to {config.values[key]!r:.80}, under which textcl would compute other vectors: "
        "use sentence-transformers for this model"
    )
