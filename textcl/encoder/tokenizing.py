"""From texts to token ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import tokenizers
import transformers
from transformers import PreTrainedTokenizerBase

from textcl.errors import UserError
from textcl.types import Tokens


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int) -> Tokens:
    """Token ids with special tokens, cut to `max_length`.

    Raises:
        UserError: If one of the texts is not valid Unicode.
    """
    if not texts:
        return Tokens.from_lists([])
    try:
        rows = tokenizer(
            list(texts),
            truncation=True,
            max_length=max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
    except (TypeError, UnicodeError) as error:  # what lone surrogates raise
        bad = next(place for place, text in enumerate(texts) if not _encodable(text))
        raise UserError(f"text number {bad} is not valid Unicode: {texts[bad]!r:.80}") from error
    return Tokens.from_lists(rows)  # pyright: ignore[reportArgumentType]


def fingerprint(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """A digest of all that the tokens of a text follow from but `max_length`; None where that cannot be told."""
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


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
