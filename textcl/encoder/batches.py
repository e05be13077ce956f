"""Batches of tokens: rows of similar length, as many as fit into memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from textcl.errors import RunError
from textcl.types import Tokens

_log = logging.getLogger("textcl")


BATCH_TOKENS = {"cpu": 2048, "cuda": 65536}
"""Tokens of a batch; the best of a few on the machines that were at hand, on a wide plateau."""


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
