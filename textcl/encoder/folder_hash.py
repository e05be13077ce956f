"""Hash of a model folder, without opening the model."""

from __future__ import annotations

import hashlib
from pathlib import Path

from textcl.data.files import file_sha256

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
            digest.update(f"{file_sha256(path)}  {inner.as_posix()}\n".encode())
    return digest.hexdigest()
