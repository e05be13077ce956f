"""What a graph of a card does, on a CPU: the operators of a step are noted, and called again on the same memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from pretended_card import OnCard
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

T = TypeVar("T")


class Twin:
    """A `Recorder`. Like a card it knows nothing of Python: a number that a step read there stays as it was.

    Attributes:
        recorded: How many graphs there are.
        replayed: How often one of them ran again.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.recorded = self.replayed = 0

    def aside(self, run: Callable[[], T]) -> T:
        return run()

    def record(self, run: Callable[[], T]) -> tuple[T, Callable[[], object]]:
        with _Noted() as noted:
            given = run()
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            noted.call_again()

        return given, replay


class _Noted(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.calls.append((func, args, kwargs or {}, out))
        return out

    @torch.no_grad()
    def call_again(self) -> None:
        """Every call, with its results put where the first ones are."""
        for func, args, kwargs, out in self.calls:
            for old, new in zip(tree_leaves(out), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, torch.Tensor) and new is not old:
                    old, new = (x.numbers if isinstance(x, OnCard) else x for x in (old, new))
                    old.copy_(new)
