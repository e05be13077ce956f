"""The description of an encoder in its folder, in the layout of sentence-transformers.

A folder holds, besides a HuggingFace model: modules.json (the chain of modules), one folder for each of pooling,
Dense and Normalize, config_sentence_transformers.json (prompts and more), and from textcl also textcl.json (what the
others cannot say) and textcl_parity.json (texts and their vectors). `folder_reading` reads one, `folder_writing` writes
one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from textcl.versions import own_version, version_of

MODULES_FILE = "modules.json"
GENERAL_FILE = "config_sentence_transformers.json"
PARITY_FILE = "textcl_parity.json"
NOTE_FILE = "textcl.json"


ST_POOLINGS: Mapping[str, str] = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
"""Poolings of sentence-transformers, in the order in which it concatenates them, and their older keys."""

ST_LAYER_MEANS = ("first_last", "first_last_embedding", "top2")
"""Poolings that sentence-transformers expresses as a weighted mean of layers, then a mean over tokens."""


@dataclass(frozen=True)
class Description:
    """The description of an encoder in its folder.

    Args:
        transformer: Folder of the HuggingFace model.
        pooling: Name of the pooling; None for a plain checkpoint of transformers, which has none.
        pooled_width: Columns that the pooling takes; None if the folder does not say.
        normalize: Whether vectors have length 1.
        dense: Folders of the layers behind the pooling.
        max_length: Most tokens of a text; None if the folder leaves it to the tokenizer.
        lowercase: Whether texts are lowercased before the tokenizer.
        prompts: Texts to put in front, by name.
        default_prompt: Name of the prompt that is used when none is asked for.
        truncate_dim: How many leading dimensions `encode` keeps; all when None.
        similarity: What the similarity of two vectors is, one of `SIMILARITIES`.
        kept: Keys of config_sentence_transformers.json that textcl does not use and writes again.
        include_prompt: Whether the tokens of a prompt are part of the pooling.
        notes: Sentences for the user: files that are usual and missing.
        static: Whether the model is a table of token vectors.
        drops_unknown: Whether unknown tokens of such a model add nothing.
    """

    transformer: Path
    pooling: str | None = None
    pooled_width: int | None = None
    normalize: bool = False
    dense: tuple[Path, ...] = ()
    max_length: int | None = None
    lowercase: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict[str, str])
    default_prompt: str | None = None
    truncate_dim: int | None = None
    similarity: str = "cosine"
    kept: Mapping[str, object] = field(default_factory=dict[str, object])
    include_prompt: bool = True
    notes: tuple[str, ...] = ()
    static: bool = False
    drops_unknown: bool = False


def known_elsewhere(pooling: str | None) -> bool:
    """Whether sentence-transformers can compute this pooling; it takes a plain checkpoint's to be the mean."""
    if pooling is None:
        return True
    return pooling in ST_LAYER_MEANS or all(part in ST_POOLINGS for part in pooling.split("+"))


def library_versions() -> dict[str, str]:
    """Versions of the libraries that a vector depends on."""
    packages = {"sentence_transformers": "sentence-transformers", "transformers": "transformers"}
    installed = {key: version_of(name) for key, name in packages.items()}
    return {**installed, "pytorch": str(torch.__version__), "textcl": own_version()}
