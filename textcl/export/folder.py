"""The folder that `textcl export` writes: the description of its graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from textcl.data.files import write_json
from textcl.data.json_files import JsonObject
from textcl.encoder.backbone import EXPORT_FILE
from textcl.errors import UserError


@dataclass(frozen=True)
class Export:
    """The content of `textcl_export.json`.

    Args:
        backend: Name of the backend.
        int8: Whether weights and activations have 8 bits.
        dimension: Length of a vector.
        pooling: Name of the pooling in the graph.
        normalize: Whether the graph scales vectors to length 1.
        max_length: Most tokens of a text.
        pad_id: Token id of padding.
        prompts: Texts to put in front, by name.
        default_prompt: Name of the prompt that is used when none is asked for.
        texts: Texts whose vectors are known.
        vectors: Their vectors in torch, float32.
        versions: Of the libraries that made the graph.
        truncate_dim: Leading dimensions that `encode` keeps by default; all when None.
    """

    backend: str
    int8: bool
    dimension: int
    pooling: str
    normalize: bool
    max_length: int
    pad_id: int
    prompts: Mapping[str, str]
    default_prompt: str | None
    texts: Sequence[str]
    vectors: Sequence[Sequence[float]]
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    truncate_dim: int | None = None

    @classmethod
    def read(cls, folder: Path) -> Export:
        """The description of an export folder.

        Raises:
            UserError: If it is not the folder of an export, or its file is damaged.
        """
        if not (folder / EXPORT_FILE).is_file():
            raise UserError(
                f"{folder} is not a folder that textcl export wrote: {EXPORT_FILE} is missing"
            )
        values = JsonObject.read(folder / EXPORT_FILE)
        texts = values.require("texts", list[str])
        return cls(
            backend=values.require("backend", str),
            int8=values.require("int8", bool),
            dimension=values.require("dimension", int),
            pooling=values.require("pooling", str),
            normalize=values.require("normalize", bool),
            max_length=values.require("max_length", int),
            pad_id=values.require("pad_id", int),
            prompts=values.texts("prompts"),
            default_prompt=values.get("default_prompt", str),
            texts=texts,
            vectors=values.table("vectors", rows=len(texts)).tolist(),
            versions=values.texts("versions"),
            truncate_dim=values.get("truncate_dim", int),
        )

    def write(self, folder: Path) -> None:
        """Write it into the folder."""
        write_json(folder / EXPORT_FILE, self)
