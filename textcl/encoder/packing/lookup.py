"""Embedding tables whose gradient costs what the batch touches, not what the table holds.

torch makes a buffer of the size of the table for the gradient of every backward pass, which is most of what a lookup
costs on a CPU: a batch touches a few hundred rows of tens of thousands. Here the buffer of the last update is kept
and added to in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Embedding(nn.Embedding):
    """`torch.nn.Embedding` that adds to the gradient buffer that is there, on a CPU."""

    def forward(self, input: Int[Tensor, " ..."]) -> Float[Tensor, "... D"]:
        """See `torch.nn.Embedding`."""
        if input.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(input)
        return _Lookup.apply(self.weight, input, self.padding_idx)  # pyright: ignore[reportReturnType]


def use_kept_gradients(model: nn.Module) -> None:
    """Turn every plain `torch.nn.Embedding` inside a model into an `Embedding`; names and weights stay."""
    for module in model.modules():
        plain = type(module) is nn.Embedding and module.max_norm is None
        if plain and not (module.sparse or module.scale_grad_by_freq):
            module.__class__ = Embedding


def clear_gradients(model: nn.Module, zero_grad: Callable[[], None]) -> None:
    """Clear all gradients with `zero_grad`, but keep the buffers of embedding tables, filled with zeros.

    Called before the first update too: where a step looks a table up twice, sums round differently without a buffer,
    and a resumed run would not repeat the one that went on.
    """
    tables = {m.weight for m in model.modules() if isinstance(m, Embedding)}
    buffers = [
        (x, torch.zeros_like(x) if x.grad is None else x.grad)
        for x in tables
        if x.requires_grad and x.device.type == "cpu"
    ]
    zero_grad()
    for table, buffer in buffers:
        table.grad = buffer.zero_()


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor, padding: int | None) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.table, ctx.padding = table, padding
        return table.index_select(0, ids.flatten()).view(*ids.shape, -1)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, None, None]:
        (ids,), table = ctx.saved_tensors, ctx.table
        ids, rows = ids.flatten(), gradients[0].reshape(-1, table.shape[1])
        if ctx.padding is not None:
            rows = rows.masked_fill((ids == ctx.padding)[:, None], 0.0)
        kept = table.grad
        buffer = torch.zeros_like(table) if kept is None else kept
        buffer.index_add_(0, ids, rows.to(buffer.dtype))
        return (buffer if kept is None else None), None, None
