"""The units of work of `Encoder.encode`: blocks of texts, batches of tokens."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional as F

from textcl.data.texts import as_texts
from textcl.errors import RunError, UserError
from textcl.types import Tokens

_log = logging.getLogger("textcl")

T = TypeVar("T")

BLOCK = 1 << 15
"""Texts that are tokenised and sorted together."""

BATCH_TOKENS = {"cpu": 2048, "cuda": 65536}
"""Tokens of a batch; the best of a few on the machines that were at hand, on a wide plateau."""


_TYPES = {"float32": torch.float32, "float16": torch.float16}


def blocks(texts: Iterable[T]) -> Iterator[list[T]]:
    """Lists of at most `BLOCK` texts."""
    remaining = iter(texts)
    while block := list(islice(remaining, BLOCK)):
        yield block


def encode_blocks(
    texts: Iterable[object],
    tokenize: Callable[[Sequence[str]], Tokens],
    embed: Callable[[Tokens], Float32[Tensor, "B D"]],
    *,
    width: int,
    prefix: str = "",
    truncate_dim: int | None = None,
    normalize: bool = False,
    dtype: str = "float32",
) -> Float[np.ndarray, "N _"]:
    """Vectors of texts in the order given, block by block.

    Args:
        texts: N texts.
        tokenize: Token ids of a block.
        embed: Vectors of its rows.
        width: Dimensions of a vector.
        prefix: Put in front of every text.
        truncate_dim: Keep so many leading dimensions.
        normalize: Whether what is kept of a vector gets length 1.
        dtype: Type of their numbers when they leave the device.

    Raises:
        UserError: If an argument is out of range, or `texts` are not texts (see `as_texts`).
    """
    strings = as_texts(texts)
    if dtype not in _TYPES:
        raise UserError(f"dtype must be 'float32' or 'float16', not {dtype!r}")
    dimension = truncate_dim or width
    if not 1 <= dimension <= width:
        raise UserError(f"truncate_dim={truncate_dim} must be between 1 and {width}")
    done: list[np.ndarray] = []
    coming: Callable[[], np.ndarray] | None = None

    def prepare(block: list[str]) -> Tokens:
        return tokenize([prefix + text for text in block] if prefix else block)

    for tokens in _ahead(map(prepare, blocks(strings))):
        vectors = embed(tokens)[:, :dimension]
        if normalize:
            vectors = F.normalize(vectors, dim=-1)
        before, coming = coming, to_host(vectors.to(_TYPES[dtype]))
        if before is not None:  # while the device works on this block
            done.append(before())
    if coming is not None:
        done.append(coming())
    return np.concatenate(done) if done else np.zeros((0, dimension), dtype)


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
    copied.record()

    def wait() -> np.ndarray:
        copied.synchronize()
        return pinned.numpy().copy()  # pinned memory is scarce

    return wait


def usual_budget(device: torch.device, width: int) -> int:
    """Tokens of a batch that suit a device and fit into its free memory.

    Args:
        device: Where the model is.
        width: Of its hidden states.
    """
    usual = BATCH_TOKENS.get(device.type, BATCH_TOKENS["cpu"])
    if device.type != "cuda":
        return usual
    return fitting_tokens(torch.cuda.mem_get_info(device)[0], width, usual)


def fitting_tokens(free: int, width: int, most: int) -> int:
    """Tokens whose activations take at most half of the free memory; estimated, not measured.

    A layer holds about 13 numbers of 4 bytes for each token and dimension at once: states, queries, keys, values,
    contexts and two times the four-fold intermediate ones.

    Args:
        free: Bytes.
        width: Of the hidden states.
        most: No more than so many.
    """
    return max(1, min(most, free // 2 // (13 * 4 * width)))


def run_in_batches(
    embed: Callable[[Tokens], Float[Tensor, "B D"]],
    tokens: Tokens,
    cost: Sequence[int],
    budget: int,
    advance: Callable[[int], None],
) -> Float32[Tensor, "N D"]:
    """Vectors of the rows of a block in its order, computed in batches of rows of about equal length.

    Args:
        embed: Vectors of a batch.
        tokens: The block.
        cost: Positions that each row makes the model compute.
        budget: Most positions of a batch.
        advance: Called with the rows of each batch that is done.

    A batch that does not fit into memory is run again with half the budget.

    Raises:
        RunError: If a single row does not fit.
    """
    order = torch.argsort(tokens.lengths, stable=True)
    tokens = tokens.take(order)
    costs, parts, done = [cost[row] for row in order.tolist()], list[Tensor](), 0
    while done < len(tokens):
        start, stop = next(batches(costs, budget, done))
        try:
            parts.append(embed(tokens.rows(start, stop)).float())
        except torch.OutOfMemoryError as error:
            if stop - start == 1:
                raise RunError(
                    f"a single text of {costs[start]:,} positions does not fit into memory: take a smaller max_length"
                ) from error
            budget = max(1, sum(costs[start:stop]) // 2)
        else:
            done = stop
            advance(stop - start)
            continue
        _log.warning("out of memory: going on with batches of %s tokens", f"{budget:,}")
        torch.cuda.empty_cache()
    vectors = torch.cat(parts)
    return torch.empty_like(vectors).index_copy_(
        0, order.to(vectors.device, non_blocking=True), vectors
    )


def _ahead(values: Iterator[Tokens]) -> Generator[Tokens]:
    """The same values, each made in a thread while the one before is used."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, values, None)
        while (value := coming.result()) is not None:
            coming = thread.submit(next, values, None)
            yield value


def batches(cost: Sequence[int], budget: int, first: int = 0) -> Iterator[tuple[int, int]]:
    """Runs of rows, from the first on, whose cost stays within the budget; a row alone may exceed it."""
    start, spent = first, 0
    for row, tokens in enumerate(islice(cost, first, None), first):
        if row > start and spent + tokens > budget:
            yield start, row
            start, spent = row, 0
        spent += tokens
    if start < len(cost):
        yield start, len(cost)
