"""Hash of a tokenizer: equal for equal ones, wherever they lie."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import tokenizers
import transformers
from transformers import PreTrainedTokenizerBase


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
