"""The model of an index: which one it is, by its weights, and what it puts before queries and documents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import singledispatch
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from textcl.arithmetic import unit
from textcl.encoder.encoder import Encoder
from textcl.encoder.folder_hash import model_sha256
from textcl.encoder.peers import Role as Role
from textcl.encoder.peers import role_prompt
from textcl.encoder.reader import find_prompt
from textcl.encoder.to_file import EncodesFiles
from textcl.errors import UserError
from textcl.export.exported import ExportedEncoder
from textcl.retrieval.store import Manifest


@runtime_checkable
class Embeds(EncodesFiles, Protocol):
    """An encoder that may have prompts: `Encoder`, `ExportedEncoder`."""

    prompts: dict[str, str]
    default_prompt: str | None


def prompt_name(model: Embeds, role: Role) -> str | None:
    """Name of the model's prompt for a role; None, which leaves its default, where it has none."""
    return role_prompt(model.prompts, role)


def prompt_text(model: Embeds, role: Role) -> str:
    """Prompt that the model puts before texts of a role."""
    return find_prompt(model.prompts, model.default_prompt, prompt_name(model, role))


@singledispatch
def model_hash(model: object) -> str:
    """SHA-256 of all that a vector follows from: weights, tokenizer, pooling, length and width; not the prompts.

    A model in memory and the folder that it was saved to have the same, and weights that take no part, such as those of
    a pooler that the pooling leaves out, change nothing.

    Raises:
        UserError: If the model is neither an `Encoder` nor an `ExportedEncoder`.
    """
    raise UserError(
        f"an index takes an Encoder or an ExportedEncoder of textcl, got {type(model).__name__}: "
        "load the folder with Encoder.from_pretrained"
    )


@model_hash.register
def _(model: Encoder) -> str:
    pooler_apart = model.saved_pooling != "cls_pooler"
    backbone = [
        (name, weight)
        for name, weight in sorted(model.backbone.named_parameters())
        if not (pooler_apart and name.startswith("pooler."))
    ]
    settings: list[str] = [] if model.include_prompt else ["without the prompt"]
    if getattr(model.backbone.config, "is_causal", None) is False:
        settings.append("bidirectional")
    return _digest(model, model.saved_pooling, [*backbone, *_layers(model.saved_dense)], settings)


@model_hash.register
def _(model: ExportedEncoder) -> str:
    digest = hashlib.sha256(json.dumps([model.max_length, model.truncate_dim]).encode())
    digest.update(model_sha256(model.folder).encode())
    return digest.hexdigest()


def _earlier_hash(model: Embeds) -> str | None:
    """The hash that manifests of earlier versions hold; None where it was always as it is."""
    if not isinstance(model, Encoder):
        return None
    weights = [*sorted(model.backbone.named_parameters()), *_layers(model.dense)]
    return _digest(model, model.pooling, weights, [])


def _digest(
    model: Encoder, pooling: str, weights: Iterable[tuple[str, Tensor]], settings: list[str]
) -> str:
    vocabulary = sorted(model.tokenizer.get_vocab().items())
    facts = [vocabulary, pooling, model.max_length, model.normalize, model.truncate_dim, *settings]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for name, tensor in weights:
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(raw.numpy().data)
    return digest.hexdigest()


def _layers(layers: Iterable[nn.Module]) -> Iterator[tuple[str, Tensor]]:
    """Name and value of the weights of layers by their place, whatever holds them."""
    for place, layer in enumerate(layers):
        for name, tensor in sorted(layer.named_parameters()):
            yield f"{place}.{name}", tensor


def similarity_of(model: Embeds) -> Literal["cosine", "dot"]:
    """Similarity by which an index of the model compares.

    Raises:
        UserError: If it is a distance.
    """
    measure = getattr(model, "similarity_name", "cosine")
    if measure not in ("cosine", "dot"):
        raise UserError(
            f"the model compares by {measure}, an index by cosine or dot product: set similarity_name of the model"
        )
    return measure


def embed(
    model: Embeds,
    texts: Sequence[str],
    role: Role,
    similarity: str,
    batch_tokens: int | None = None,
    precision: str | None = None,
) -> Float32[np.ndarray, "N D"]:
    """Vectors of texts with the prompt of their role, of length 1 where they are compared by cosine."""
    vectors = model.encode(
        texts, prompt=prompt_name(model, role), batch_tokens=batch_tokens, precision=precision
    )
    return unit(torch.from_numpy(vectors)).numpy() if similarity == "cosine" else vectors


def check_model(model: Embeds, manifest: Manifest, folder: Path) -> None:
    """Refuse a model that is not the one that an index was built with.

    Raises:
        UserError: If weights, tokenizer, settings or prompts differ.
    """
    sha256 = model_hash(model)
    name = f"the model {manifest.model}" if manifest.model else "a model"
    built = f"the index {folder} was built with {name}"
    if manifest.model_sha256 not in (sha256, _earlier_hash(model)):
        raise UserError(
            f"{built} of sha256 {manifest.model_sha256[:12]}, but this one has {sha256[:12]}: "
            "name that model with -m, or build the index again"
        )
    prompts = {
        "query": (manifest.query_prompt, prompt_text(model, "query")),
        "document": (manifest.document_prompt, prompt_text(model, "document")),
    }
    for role, (stored, own) in prompts.items():
        if stored != own:
            raise UserError(
                f"{built} and the prompt {stored!r} before a {role}, but this model has {own!r}: "
                "name that model with -m, or build the index again"
            )
