"""What a card can do at best, and attention over rows without padding against padded rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from common import now
from torch import Tensor

from textcl.encoder.packing import card
from textcl.encoder.packing.places import Packing
from textcl.encoder.packing.reach import Reach

_PRODUCTS = ((65_536, 768, 3_072), (2_048, 768, 3_072), (8_192, 8_192, 8_192))
_ROWS = (
    (128, 16),
    (512, 16),
    (1_024, 16),
    (512, 32),
    (1_024, 32),
    (2_048, 32),
    (128, 128),
    (512, 128),
)
HEADS, WIDTH, DROPOUT = 12, 64, 0.1


def seconds(run: Callable[[], object], device: str, times: int = 10) -> float:
    """Of one of several runs, after three that are not counted."""
    for _ in range(3):
        run()
    start = now(device)
    for _ in range(times):
        run()
    return (now(device) - start) / times


def ceilings(device: str) -> Iterator[dict[str, object]]:
    """Terabytes a second of a copy, read and written, and TFLOP/s of bfloat16 products."""
    size, shapes = (2**30, _PRODUCTS) if device == "cuda" else (2**16, ((16, 16, 16),))
    source = torch.empty(size, dtype=torch.uint8, device=device)
    copy = torch.empty_like(source)
    spent = seconds(lambda: copy.copy_(source), device)
    yield {"copy_terabytes_per_s": round(2 * size / spent / 1e12, 3)}
    for rows, inner, columns in shapes:
        a = torch.randn(rows, inner, device=device, dtype=torch.bfloat16)
        b = torch.randn(columns, inner, device=device, dtype=torch.bfloat16)
        spent = seconds(lambda a=a, b=b: torch.nn.functional.linear(a, b), device)
        work = 2 * rows * inner * columns
        yield {
            "product": [rows, inner, columns],
            "bf16_tflops": round(work / spent / 1e12, 3),
        }


def attention(device: str) -> Iterator[dict[str, object]]:
    """Milliseconds, forward and backward, of both ways in which rows with dropout run; bfloat16 on a card."""
    kind = torch.bfloat16 if device == "cuda" else torch.float32
    for rows, length in _ROWS if device == "cuda" else ((4, 8),):
        shape = rows * length, HEADS, WIDTH
        inputs = [torch.randn(shape, device=device, dtype=kind, requires_grad=True) for _ in "qkv"]
        packing = Packing.of(torch.full((rows,), length), None, torch.device(device))
        upstream = torch.ones(shape, device=device, dtype=kind)

        def step(
            way: Callable[..., Tensor],
            inputs: list[Tensor] = inputs,
            packing: Packing = packing,
            upstream: Tensor = upstream,
        ) -> object:
            context = way(*inputs, packing, WIDTH**-0.5, DROPOUT, Reach())
            return torch.autograd.grad(context, inputs, upstream)

        ways = {"padded_ms": card.attend_padded}
        if device == "cuda":
            ways["flash_ms"] = card.attend_flash
        each = {
            name: round(1000 * seconds(lambda way=way: step(way), device), 3)
            for name, way in ways.items()
        }
        yield {"rows": rows, "length": length, **each}
