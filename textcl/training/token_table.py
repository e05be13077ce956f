"""The tokens of a column of texts, or of lists of them, on disk: made once for the same tokenizer, length and texts.

Training draws rows at random, epoch after epoch and run after run; a tokenizer gives the same text the same tokens
every time. They lie beside the rows, in the cache of `datasets`, and are read by memory mapping.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int32, Int64

from textcl.data.cache import cache_folder
from textcl.data.files import atomic_write
from textcl.data.roles import texts_in
from textcl.data.rows import Rows
from textcl.encoder.reader import Reader
from textcl.terminal import counted
from textcl.types import Tokens

_LAYOUT = 1  # of the cached files: a change of what they hold needs a new number
_BLOCK = 8192  # texts that are tokenised together, by all threads of the tokenizer


@dataclass(frozen=True)
class TokenTable:
    """Token ids of texts that can be drawn from at random.

    Args:
        ids: Token ids of all texts, one after another.
        offsets: Where each text starts in `ids`, and the end of the last one.
        firsts: The first text of each row.
    """

    ids: Int32[np.ndarray, " T"]
    offsets: Int64[np.ndarray, " N1"]
    firsts: Int64[np.ndarray, " R"]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(
        self, rows: Int64[np.ndarray, " B"], places: Int64[np.ndarray, " B"] | int = 0
    ) -> Tokens:
        """One text of each of some rows, in this order.

        Args:
            rows: Their numbers.
            places: Which text of the row, from 0; −1 for none, which gives a row without tokens.
        """
        texts = np.where(np.less(places, 0), 0, self.firsts[rows] + places)
        starts = self.offsets[texts]
        lengths = np.where(np.less(places, 0), 0, self.offsets[texts + 1] - starts)
        shift = np.repeat(starts - (lengths.cumsum() - lengths), lengths)
        ids = self.ids[np.arange(len(shift)) + shift].astype(np.int64)
        return Tokens(torch.from_numpy(ids), torch.from_numpy(lengths))


def cached_tokens(
    rows: Rows,
    role: str,
    read: Reader,
    log: Callable[[str], object] = lambda _: None,
) -> TokenTable | None:
    """The tokens of one role, made if they are not there yet.

    Args:
        rows: The data set.
        role: A role that holds a text or a list of texts.
        read: Makes the tokens.
        log: Called with a line for the user when tokens have to be made.

    Returns:
        The tokens of all its texts; None if the tokenizer does not say all that its tokens follow from.

    Raises:
        UserError: If the cache cannot be written.
        RunError: If the disk of the cache is full.
    """
    tokens_from = read.fingerprint()
    if tokens_from is None:
        return None
    digest = hashlib.sha256(json.dumps([_LAYOUT, tokens_from]).encode())
    for block in _blocks(rows, role):
        for text in block:
            encoded = text.encode()
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
    folder = cache_folder()
    ids, offsets = (folder / f"{digest.hexdigest()[:32]}.{part}" for part in ("ids", "offsets.npy"))
    firsts = _firsts(rows, role)
    table = _kept(ids, offsets, firsts)
    if table is None:
        texts = counted(int(firsts[-1]), "text")
        log(f"tokenising {texts} (role {role}); later runs find the tokens in {folder}")
        _write(ids, offsets, rows, role, read)
        table = _kept(ids, offsets, firsts)
    return table


def _firsts(rows: Rows, role: str) -> Int64[np.ndarray, " R1"]:
    """The first text of each row, and the number of all texts."""
    if role in rows.text_roles:
        return np.arange(len(rows) + 1)
    counts = (len(texts_in(role, value)) for value in _values(rows, role))
    return np.cumsum([0, *counts], dtype=np.int64)


def _kept(ids: Path, offsets: Path, firsts: Int64[np.ndarray, " R1"]) -> TokenTable | None:
    """Table of the cache; None where it is missing or damaged, so that it is made anew."""
    if not (ids.exists() and offsets.exists()):
        return None
    try:
        ends = np.load(offsets, allow_pickle=False)
    except (ValueError, OSError, EOFError):
        return None
    size = ids.stat().st_size
    if ends.shape != (firsts[-1] + 1,) or size != int(ends[-1]) * np.dtype(np.int32).itemsize:
        return None
    # nothing cannot be mapped
    mapped = np.memmap(ids, np.int32, mode="r") if size else np.zeros(0, np.int32)
    return TokenTable(mapped, ends, firsts[:-1])


def _write(
    ids: Path,
    offsets: Path,
    rows: Rows,
    role: str,
    read: Reader,
) -> None:
    lengths: list[np.ndarray] = [np.zeros(1, np.int64)]
    with atomic_write(ids) as file:
        for block in _blocks(rows, role):
            tokens = read(block)
            file.write(tokens.ids.numpy().astype(np.int32).tobytes())
            lengths.append(tokens.lengths.numpy())
    with atomic_write(offsets) as file:  # the last of the two: where it is, the other is whole
        np.save(file, np.concatenate(lengths).cumsum())


def _blocks(rows: Rows, role: str) -> Iterator[list[str]]:
    texts = (text for value in _values(rows, role) for text in texts_in(role, value))
    while block := list(islice(texts, _BLOCK)):
        yield block


def _values(rows: Rows, role: str) -> Iterator[object]:
    for start in range(0, len(rows), _BLOCK):
        yield from rows.column(role, range(start, min(start + _BLOCK, len(rows))))
