"""Hashes of models and tokenizers: equal for equal ones, wherever they lie."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import tokenizers
import transformers
from transformers import PreTrainedTokenizerBase

# What decides a vector, of torch and of an exported graph; a card or a log beside it does not.
_ENDINGS = (
    ".safetensors",
    ".json",
    ".txt",
    ".model",
    ".tiktoken",
    ".onnx",
    ".data",
    ".xml",
    ".bin",
)


def model_sha256(folder: Path) -> str:
    """Hash of every file of a model folder that its vectors depend on, with its name.

    Args:
        folder: A model folder, as `find_model` gives it.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inner.parts)
        if path.is_file() and path.suffix in _ENDINGS and not hidden:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{content}  {inner.as_posix()}\n".encode())
    return digest.hexdigest()


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Hash of everything but `max_length` that determines the tokens of a text; None where that is unknown."""
    rust: Any = getattr(tokenizer, "backend_tokenizer", None)
    if rust is None:
        return None
    backend = json.loads(rust.to_str())
    backend["truncation"] = backend["padding"] = None  # of the last call
    facts = [
        backend,
        type(tokenizer).__name__,
        tokenizer.truncation_side,
        tokenizers.__version__,
        transformers.__version__,
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
