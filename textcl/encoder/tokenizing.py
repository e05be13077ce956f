"""Token ids of texts, by the fastest way that a tokenizer offers."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.tokenization_utils_base import TruncationStrategy
from transformers.utils.generic import PaddingStrategy

from textcl.errors import UserError
from textcl.types import Tokens

# A tokenizer keeps the length of its last call, and batches are read in a thread beside the evaluation: without
# this, one of the two would set the length while the other one reads.
_reading = threading.Lock()

_AT_ONCE = 2048  # texts whose encodings are in memory together: each is about a hundred times as large as its ids


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


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
