"""An encoder as a model of mteb, so that `mteb.evaluate` runs it, prompts by role and cache included."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from textcl.encoder.peers import Role, role_prompt
from textcl.encoder.similarity import compare, compare_rows
from textcl.errors import UserError
from textcl.export.load import load_encoder
from textcl.retrieval.models import Embeds, model_hash

_MEASURES = {"cosine": "cosine", "dot": "dot"}  # those that mteb knows

Vectors = Float[np.ndarray, "N D"] | Float[Tensor, "N D"]


@runtime_checkable
class _Task(Protocol):
    """The part of mteb's `TaskMetadata` that is used."""

    name: str
    type: str


class MtebEncoder:
    """A model for `mteb.evaluate`; needs the extra `mteb`.

    Results lie in mteb's cache under `name` and `revision`. The revision is a hash of weights, settings and prompts
    unless you give one, so that another model under the same name never gets the cached scores of this one.

    Args:
        model: An `Encoder`, an `ExportedEncoder`, or the folder or hub name of one.
        name: "organisation/model", as mteb writes it into its results; made of the folder's name when None.
        revision: Version of the model; the hash when None.
        precision: Arithmetic of the encoder; float32 gives exact scores.

    Raises:
        UserError: If the name has no "/", or there is no such model.
    """

    def __init__(
        self,
        model: Embeds | str | Path,
        name: str | None = None,
        revision: str | None = None,
        *,
        precision: str | None = "float32",
    ) -> None:
        named = isinstance(model, str | Path)
        self.model: Embeds = load_encoder(model) if named else model
        self.name = name or (_name(model) if named else "textcl/encoder")
        if "/" not in self.name:
            raise UserError(
                f'mteb names a model "organisation/model", got {name!r}: write "me/{name}"'
            )
        self._revision, self._precision = revision, precision

    @cached_property
    def revision(self) -> str:
        """Version of the model in mteb's results."""
        if self._revision is not None:
            return self._revision
        facts = [model_hash(self.model), self.model.prompts, self.model.default_prompt]
        facts += [self._measure, self._precision]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:40]

    @cached_property
    def mteb_model_meta(self) -> object:
        """Description of the model in mteb's results, a `mteb.ModelMeta`.

        Raises:
            UserError: If mteb is not installed.
        """
        if importlib.util.find_spec("mteb") is None:
            raise UserError("a run of mteb needs mteb: install textcl-train[mteb]")
        meta = importlib.import_module("mteb.models.model_meta").ModelMeta
        weights = getattr(self.model, "parameters", None)
        return meta(
            loader=None,
            name=self.name,
            revision=self.revision,
            release_date=None,
            languages=None,
            n_parameters=sum(each.numel() for each in weights()) if weights else None,
            memory_usage_mb=None,
            max_tokens=self.model.max_length,
            embed_dim=self.model.truncate_dim or self.model.dimension,
            license=None,
            open_weights=None,
            public_training_code=None,
            public_training_data=None,
            framework=["PyTorch"],
            similarity_fn_name=_MEASURES.get(self._measure),
            use_instructions=bool(self.model.prompts),
            training_datasets=None,
        )

    def encode(
        self,
        inputs: Iterable[Mapping[str, Sequence[str]]],
        *,
        task_metadata: _Task,
        hf_split: str = "",
        hf_subset: str = "",
        prompt_type: Role | None = None,
        **options: object,
    ) -> Float32[np.ndarray, "N D"]:
        """Vectors of texts, with the prompt that the model has for the task, its type or the role.

        Args:
            inputs: Batches with the texts under "text".
            task_metadata: Name and type of the task.
            hf_split: Not used.
            hf_subset: Not used.
            prompt_type: "query", "document" or None for a text without a role.
            options: Of mteb; textcl fits its batches to the memory and takes none of them.
        """
        texts = [text for batch in inputs for text in batch["text"]]
        prompt = _prompt_name(self.model.prompts, task_metadata, prompt_type)
        return self.model.encode(texts, prompt=prompt, precision=self._precision)

    def similarity(self, a: Vectors, b: Vectors) -> Float32[Tensor, "N M"]:
        """Similarity of every vector of `a` with every one of `b`, by the model's own measure."""
        return compare(_tensor(a), _tensor(b), self._measure)

    def similarity_pairwise(self, a: Vectors, b: Vectors) -> Float32[Tensor, " N"]:
        """Similarity of row i of `a` with row i of `b`."""
        return compare_rows(_tensor(a), _tensor(b), self._measure)

    @property
    def _measure(self) -> str:
        return getattr(self.model, "similarity_name", "cosine")


def _name(model: str | Path) -> str:
    on_hub = str(model).count("/") == 1 and not Path(model).exists()
    return str(model) if on_hub else f"textcl/{Path(model).resolve().name}"


def _prompt_name(prompts: Mapping[str, str], task: _Task, role: Role | None) -> str | None:
    """Name of a prompt in mteb's order: task and role, task, type and role, type, role; None leaves the default."""
    kind = f"-{role}" if role is not None else ""
    names = [f"{task.name}{kind}", task.name, f"{task.type}{kind}", task.type]
    own = next((name for name in names if name in prompts), None)
    return own or (role_prompt(prompts, role) if role is not None else None)


def _tensor(vectors: Vectors) -> Float32[Tensor, "N D"]:
    return torch.as_tensor(vectors).detach().cpu().float()
