"""Calls of a training step on a device, by which to see whether it may be repeated as it was recorded.

A graph of a card repeats its calls with the numbers of Python and the places in memory that it was recorded with, and
nothing of the host runs again. So a step may be a graph if it neither waits for the card nor copies to it, moves no
count on the host, and makes the same calls each time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Call = tuple[OpOverload, tuple[object, ...]]
"""An operator and what it got and gave: shape, type and place of tensors, everything else by its value."""

_WAITS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
_PACKAGE = Path(__file__).parents[1]


class Calls(TorchDispatchMode):
    """Notes the calls that are made within it, those of the backward pass too.

    Args:
        device: Calls on its tensors are noted, and no others.

    Attributes:
        made: The calls in their order.
        on_host: Calls that read a number of the card or copy one to it, with file and line.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.made: list[Call] = []
        self.on_host: list[str] = []
        self._own: set[int] = set()  # storages of what was made within

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        out = func(*args, **(kwargs or {}))
        given, gave = tree_leaves((args, kwargs)), tree_leaves(out)
        on_card = any(_on_card(x) for x in (*given, *gave))
        if not on_card and self.device.type != "cpu":
            return out
        if on_card and self._needs_host(func, args, kwargs or {}, [*given, *gave]):
            self.on_host.append(f"{_line()} {func.overloadpacket.__name__}")
        seen = [self._seen(x, on_card) for x in given]
        self._own.update(_place(x) for x in gave if isinstance(x, Tensor))
        self.made.append((func, (*seen, *(self._seen(x, False) for x in gave))))
        return out

    def _seen(self, value: object, on_card: bool) -> object:
        if isinstance(value, Tensor):
            if not on_card or value.ndim or _on_card(value):
                place = _place(value)
                about = (value.shape, value.stride(), value.dtype, value.device)
                return about, None if place in self._own else place
            value = value.item()  # an argument of the call, not memory that it reads
        return value if value == value else "nan"

    @staticmethod
    def _needs_host(
        func: OpOverload, args: Sequence[object], kwargs: Mapping[str, object], values: list[object]
    ) -> bool:
        if kwargs.get("output_size") is not None:
            return False
        copies = func.overloadpacket.__name__ in ("_to_copy", "copy_")
        tensors = [x for x in values if isinstance(x, Tensor)]
        if any(not _on_card(x) and (x.ndim or copies) for x in tensors):
            return True
        if func.overloadpacket is torch.ops.aten.index:
            return any(
                isinstance(i, Tensor) and i.dtype == torch.bool for i in tree_leaves(args[1:])
            )
        return not _WAITS.isdisjoint(func.tags)


def first_difference(before: Sequence[Call], now: Sequence[Call]) -> str:
    """First difference between the calls of two steps, in words; "" where there is none."""
    for (func, seen), (other, others) in zip(before, now, strict=False):
        if func is not other:
            return f"{other.overloadpacket.__name__} is called where {func.overloadpacket.__name__} was"
        for old, new in zip(seen, others, strict=False):
            if old != new:
                return f"{func.overloadpacket.__name__} is called with other arguments each time"
    return "" if len(before) == len(now) else "the number of operators differs"


def host_counts(*modules: nn.Module) -> list[object]:
    """Counts that modules keep on the host, such as the draws that were made."""
    states = (part.get_extra_state() for part in _with_extra_state(modules))
    return [state.tolist() if isinstance(state, Tensor) else state for state in states]


def _with_extra_state(modules: Sequence[nn.Module]) -> Iterator[nn.Module]:
    for module in modules:
        for part in module.modules():
            if type(part).get_extra_state is not nn.Module.get_extra_state:
                yield part


def _on_card(value: object) -> bool:
    return isinstance(value, Tensor) and value.device.type != "cpu"


def _place(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


def _line() -> str:
    """The innermost line of textcl that a call comes from."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(_PACKAGE) and file != Path(__file__):
            return f"{file.relative_to(_PACKAGE.parent)}:{frame.f_lineno}"
        frame = frame.f_back
    return "the backward pass"
