"""From texts to token ids."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import tokenizers
import torch
import transformers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.tokenization_utils_base import TruncationStrategy
from transformers.utils.generic import PaddingStrategy

from textcl.errors import UserError
from textcl.types import Tokens

_UNCUT = 10**6  # tokens; longer than any text

# A tokenizer keeps the length of its last call, and batches are read in a thread beside the evaluation: without
# this, one of the two would set the length while the other one reads.
_reading = threading.Lock()

_AT_ONCE = 2048  # texts whose encodings are in memory together: each is about a hundred times as large as its ids


@dataclass(frozen=True)
class Reader:
    """Texts to token ids as a model reads them: with a prompt in front, special tokens, and cut to a length.

    Args:
        tokenizer: Of the model.
        max_length: Most tokens of a row, special ones included.
        prompt: Put in front of every text.
        left_out: How many tokens of the prompt the pooling leaves out.
    """

    tokenizer: PreTrainedTokenizerBase
    max_length: int
    prompt: str = ""
    left_out: int = 0

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Token ids of the texts.

        Raises:
            UserError: If one of the texts is not valid Unicode.
        """
        shown = [self.prompt + text for text in texts] if self.prompt else texts
        return self.mark(tokenize(self.tokenizer, shown, self.max_length))

    def mark(self, tokens: Tokens) -> Tokens:
        """Rows that begin with the prompt, with the number of its tokens that the pooling leaves out."""
        if not self.left_out:
            return tokens
        return replace(tokens, prompt=torch.full_like(tokens.lengths, self.left_out))

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, not cut."""
        return replace(self, max_length=_UNCUT)(texts).lengths.tolist()

    def count_cut(self, texts: Sequence[str]) -> int:
        """The number of texts that have more tokens than a row.

        A token but the special ones covers at least a byte, so most texts need not be looked at.
        """
        room = self.max_length - 4 - len(self.prompt.encode())
        long = [text for text in texts if len(text.encode()) > room]
        longer = replace(self, max_length=self.max_length + 1)
        return int((longer(long).lengths > self.max_length).sum()) if long else 0

    def fingerprint(self) -> str | None:
        """Hash of everything that determines the tokens of a text; None where that is unknown."""
        digest = fingerprint(self.tokenizer)
        if digest is None:
            return None
        facts = [digest, self.max_length, *([self.prompt] if self.prompt else [])]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def prompt_length(tokenizer: PreTrainedTokenizerBase, prompt: str, max_length: int) -> int:
    """Tokens of a prompt in front of a text, with those that the tokenizer puts before it.

    Counted as sentence-transformers does, which tokenises the prompt alone: a token that the prompt's last word makes
    together with the text is not seen.
    """
    ids = tokenize(tokenizer, [prompt], max_length).ids.tolist()
    return len(ids) - (bool(ids) and ids[-1] in tokenizer.all_special_ids) if prompt else 0


def find_prompt(
    prompts: Mapping[str, str], default: str | None, name: str | None, text: str | None = None
) -> str:
    """The text that is put in front of every text.

    Args:
        prompts: Prompts of the model by name.
        default: Name of the one that is used when nothing is asked for.
        name: The one that is asked for; "" for none.
        text: The text itself, where it is none of the model's.

    Raises:
        UserError: If the model has no prompt of that name, or both a name and a text are given.
    """
    if text is not None:
        if name:
            raise UserError(
                f"expected a prompt by name or by its text, got both: {name!r} and {text!r:.80}"
            )
        return text
    if name is None:
        return prompts.get(default or "", "")
    if name and name not in prompts:
        known = ", ".join(map(repr, prompts)) or "none"
        raise UserError(
            f"the model has no prompt {name!r}; it knows {known}. A text of your own goes into prompt_text "
            "(--prompt-text)"
        )
    return prompts[name] if name else ""


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int) -> Tokens:
    """Token ids with special tokens, cut to `max_length`.

    Raises:
        UserError: If one of the texts is not valid Unicode.
    """
    if not texts:
        return Tokens.from_lists([])
    try:
        with _reading:
            if _is_plain(tokenizer):
                return _read_backend(tokenizer, texts, max_length)
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


def _is_plain(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the ids are those of the library `tokenizers`, and no class around it changes the way to them."""
    kind = type(tokenizer)
    return (
        isinstance(tokenizer, PreTrainedTokenizerFast)
        and kind.__call__ is PreTrainedTokenizerFast.__call__
        and kind._encode_plus is PreTrainedTokenizerFast._encode_plus  # pyright: ignore[reportPrivateUsage]
    )


def _read_backend(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int
) -> Tokens:
    """Ids without the dictionaries of lists that transformers makes of them, which take ten times as long."""
    _set_length(tokenizer, max_length)
    plain: Any = tokenizer
    backend = plain.backend_tokenizer
    backend.encode_special_tokens = plain.split_special_tokens
    encode = getattr(backend, "encode_batch_fast", backend.encode_batch)  # new in tokenizers 0.20
    ids: list[np.ndarray] = []
    lengths: list[np.ndarray] = []
    for start in range(0, len(texts), _AT_ONCE):
        encodings = encode(list(texts[start : start + _AT_ONCE]))
        size = np.fromiter(map(len, encodings), np.int64, len(encodings))
        one_by_one = chain.from_iterable(encoding.ids for encoding in encodings)
        ids.append(np.fromiter(one_by_one, np.int64, int(size.sum())))
        lengths.append(size)
    return Tokens(torch.from_numpy(np.concatenate(ids)), torch.from_numpy(np.concatenate(lengths)))


@contextmanager
def cut_at(tokenizer: PreTrainedTokenizerBase, max_length: int | None) -> Generator[None]:
    """The tokenizer as it is saved: it cuts texts at a length, whatever it read last, and pads none.

    Args:
        tokenizer: Of any kind; only those of the library `tokenizers` keep a length.
        max_length: Most tokens of a row, special ones included; None to cut nothing.
    """
    with _reading:
        if isinstance(tokenizer, PreTrainedTokenizerFast):
            _set_length(tokenizer, max_length)
        yield


def _set_length(tokenizer: PreTrainedTokenizerBase, max_length: int | None) -> None:
    longest = TruncationStrategy.LONGEST_FIRST
    plain: Any = tokenizer
    plain.set_truncation_and_padding(
        padding_strategy=PaddingStrategy.DO_NOT_PAD,
        truncation_strategy=TruncationStrategy.DO_NOT_TRUNCATE if max_length is None else longest,
        max_length=max_length,
        stride=0,
        pad_to_multiple_of=None,
        padding_side=None,
    )


def fingerprint(tokenizer: PreTrainedTokenizerBase) -> str | None:
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


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
