"""Encoding of texts in blocks, the work of `encode` whatever runs the model."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional as F

from textcl.data.texts import as_texts, count_of
from textcl.errors import UserError
from textcl.progress import progress
from textcl.types import Tokens

T = TypeVar("T")

BLOCK = 1 << 15
"""Texts that are tokenised and sorted together."""


_TYPES = {"float32": torch.float32, "float16": torch.float16}


def blocks(texts: Iterable[T]) -> Iterator[list[T]]:
    """Lists of at most `BLOCK` texts."""
    remaining = iter(texts)
    while block := list(islice(remaining, BLOCK)):
        yield block


Embed = Callable[[Tokens, Callable[[int], None]], Float32[Tensor, "B D"]]
"""Vectors of the rows of a block, in their order; the function given with it is called with the rows that are done."""


def encode_texts(
    texts: Iterable[object],
    reader: Callable[[Sequence[str]], Tokens],
    embed: Embed,
    *,
    width: int,
    truncate_dim: int | None = None,
    normalize: bool = False,
    dtype: str = "float32",
    show_progress: bool = False,
) -> Float[np.ndarray, "*N _"]:
    """Vectors of texts in the order given, block by block; of one text, its vector.

    Args:
        texts: N texts, or one text.
        reader: Token ids of a block.
        embed: Vectors of its rows.
        width: Dimensions of a vector.
        truncate_dim: Keep so many leading dimensions.
        normalize: Whether what is kept of a vector gets length 1.
        dtype: Type of their numbers when they leave the device.
        show_progress: Whether to show a bar on the terminal.

    Raises:
        UserError: If an argument is out of range, or `texts` are not texts (see `as_texts`).
    """
    several = [texts] if isinstance(texts, str) else texts
    strings = as_texts(several)
    if dtype not in _TYPES:
        raise UserError(f"dtype must be 'float32' or 'float16', not {dtype!r}")
    dimension = truncate_dim or width
    if not 1 <= dimension <= width:
        raise UserError(f"truncate_dim={truncate_dim} must be between 1 and {width}")
    done: list[np.ndarray] = []
    coming: Callable[[], np.ndarray] | None = None
    with progress("encoding", "texts", total=count_of(several), show=show_progress) as advance:
        for tokens in _ahead(map(reader, blocks(strings))):
            vectors = embed(tokens, advance)[:, :dimension]
            if normalize:
                vectors = F.normalize(vectors, dim=-1)
            before, coming = coming, to_host(vectors.to(_TYPES[dtype]))
            if before is not None:  # while the device works on this block
                done.append(before())
        if coming is not None:
            done.append(coming())
    whole = np.concatenate(done) if done else np.zeros((0, dimension), dtype)
    return whole[0] if isinstance(texts, str) else whole


def to_host(vectors: Float[Tensor, "N D"]) -> Callable[[], Float[np.ndarray, "N D"]]:
    """Start to copy vectors to the host; what is returned waits for them.

    From a CUDA device they go into pinned memory, so that the host goes on meanwhile.
    """
    if vectors.device.type != "cuda":
        array = vectors.cpu().numpy()
        return lambda: array
    pinned = torch.empty(vectors.shape, dtype=vectors.dtype, pin_memory=True)
    pinned.copy_(vectors, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record(
        torch.cuda.current_stream(vectors.device)
    )  # of its own card, not of the current one

    def wait() -> np.ndarray:
        copied.synchronize()
        return pinned.numpy().copy()  # pinned memory is scarce

    return wait


def _ahead(values: Iterator[Tokens]) -> Generator[Tokens]:
    """The same values, each made in a thread while the one before is used."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, values, None)
        while (value := coming.result()) is not None:
            coming = thread.submit(next, values, None)
            yield value
