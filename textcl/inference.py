"""How `Encoder.encode` cuts its work: blocks of texts, batches of tokens, precision, progress."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import islice

import torch
from torch import nn

BLOCK = 1 << 15
"""Texts that are tokenised and sorted together."""

BATCH_TOKENS = {"cpu": 2048, "cuda": 65536}
"""Tokens of a batch; the best of a few on the machines that were at hand, on a wide plateau."""


def blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Lists of at most `BLOCK` texts."""
    remaining = iter(texts)
    while block := list(islice(remaining, BLOCK)):
        yield block


def batches(cost: Sequence[int], budget: int) -> Iterator[tuple[int, int]]:
    """Runs of rows whose cost stays within the budget; a row alone may exceed it."""
    start, spent = 0, 0
    for row, tokens in enumerate(cost):
        if row > start and spent + tokens > budget:
            yield start, row
            start, spent = row, 0
        spent += tokens
    if start < len(cost):
        yield start, len(cost)


@cache
def fast_bfloat16(device: str) -> bool:
    """Whether the machine multiplies bfloat16 faster than float32."""
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    if device != "cpu":
        return False
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in checks)


@contextmanager
def in_bfloat16(module: nn.Module) -> Generator[None]:
    """The float32 weights of a module are bfloat16 while the block runs, and the very same ones again afterwards.

    A fifth faster than autocast, which keeps converting what the layers hand on.
    """
    kept = [(p, p.data) for p in module.parameters() if p.dtype == torch.float32]
    try:
        for parameter, data in kept:
            parameter.data = data.to(torch.bfloat16)
        yield
    finally:
        for parameter, data in kept:
            parameter.data = data


@contextmanager
def progress(show: bool, total: int | None) -> Generator[Callable[[int], None]]:
    """A function to call with the number of texts that are done."""
    if not show:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("encode"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    speed = TextColumn("{task.fields[speed]:.0f} texts/s")
    with Progress(*columns, speed, console=Console(stderr=True)) as bar:
        task = bar.add_task("encode", total=total, speed=0.0)

        def advance(rows: int) -> None:
            elapsed = bar.tasks[0].elapsed or 1e-9
            bar.update(task, advance=rows, speed=(bar.tasks[0].completed + rows) / elapsed)

        yield advance
