"""World: how many processes train together, and how a row sees the rows of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class World:
    """One process alone: every gather is the identity.

    Args:
        rank: Index of this process.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    def gather(self, x: Tensor) -> Tensor:
        """Rows of all processes in rank order, gradient kept.

        The gradient that reaches this process's rows is the sum over all processes of what they ask of them, so that
        averaging parameter gradients over processes gives the gradient of the whole batch.
        """
        return x

    def offset(self, rows: int) -> int:
        """Index of this process's first row in a gathered table of `rows` rows here."""
        return 0

    def mean(self, values: Tensor, counts: Tensor, items: float | None = None) -> Tensor:
        """Mean over the rows of all processes, of which only this process's have a graph.

        Args:
            values: Loss of each row of this process; must be 0 where `counts` is 0.
            counts: How many terms each row counts for.
            items: Σ counts of this process in the average batch of the update, where the mean is to be one over all
                batches of the update; that of this batch when None.

        Returns:
            This process's share of Σ values / Σ counts: averaged over processes it is that mean. 0 when nothing counts.
        """
        total = self.sum(counts.sum() if items is None else values.new_full((), items))
        return values.sum() * (self.size / torch.where(total > 0, total, 1.0))

    def sum(self, value: Tensor) -> Tensor:
        """Sum of a constant over processes."""
        return value


class AllRanks(World):
    """The processes of `torch.distributed`, which must be initialised."""

    def __init__(self) -> None:
        super().__init__(dist.get_rank(), dist.get_world_size())

    def gather(self, x: Tensor) -> Tensor:  # noqa: D102
        return _Gather.apply(x, self._sizes(len(x)), self.rank)  # pyright: ignore[reportReturnType]

    def offset(self, rows: int) -> int:  # noqa: D102
        return sum(self._sizes(rows)[: self.rank])

    def sum(self, value: Tensor) -> Tensor:  # noqa: D102
        total = value.detach().clone()
        dist.all_reduce(total)
        return total

    def _sizes(self, rows: int) -> list[int]:
        device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
        mine = torch.tensor([rows], device=device)
        sizes = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(sizes, mine)
        return torch.cat(sizes).tolist()


class _Gather(torch.autograd.Function):
    """All-gather whose backward sums over processes; rows may differ in number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int], rank: int) -> Tensor:
        ctx.start, ctx.rows = sum(sizes[:rank]), len(x)
        padded = x.new_zeros((max(sizes), *x.shape[1:]))
        padded[: len(x)] = x
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.start : ctx.start + ctx.rows], None, None


ALONE = World()
