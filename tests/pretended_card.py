"""A card that is not there: tensors that say they are on CUDA, hold real numbers, and tell who waits for them.

Inside `PretendedCard` everything that is made on or moved to "cuda" is a `OnCard`: its numbers lie in a tensor of the
CPU that only the operators here see. Whatever mixes it with a tensor of the CPU fails, as on a card; what a card
would have to be waited for is noted with file and line: reading a number, operators whose output has a size that
depends on numbers, copies that do not say `non_blocking`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._device import _device_constructors
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _disable_current_modes,
    return_and_correct_aliasing,
)
from torch.utils._pytree import tree_flatten, tree_map, tree_map_only
from transformers import PreTrainedModel

CARD = torch.device("cuda", 0)
_CPU = torch.device("cpu")
_MAKERS = {"tensor": torch.tensor, "as_tensor": torch.as_tensor}

# Their outputs have a size, or are a value of Python, that the host must know.
_WAITING = frozenset(
    {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "bincount"}
    | {"_unique", "_unique2", "unique_dim", "unique_consecutive", "multinomial"}
    | {"linalg_eigh", "_linalg_eigh", "_linalg_svd", "linalg_qr"}
)


# No view by its schema, and no work for the card either.
_FREE = frozenset({"_unsafe_view", "_reshape_alias", "empty", "empty_like", "new_empty"})


class OnCard(torch.Tensor):
    """A tensor of the card."""

    numbers: torch.Tensor

    @staticmethod
    def __new__(cls, numbers: torch.Tensor, requires_grad: bool = False) -> OnCard:
        made = torch.Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue]
            cls,
            numbers.size(),
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device="meta",  # for which torch's engine needs no library
            requires_grad=requires_grad,
        )
        made.numbers = numbers
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore[reportAttributeAccessIssue, reportAssignmentType]

    @property
    def device(self) -> torch.device:  # pyright: ignore[reportIncompatibleVariableOverride]
        return CARD

    is_cuda = property(lambda self: True)  # pyright: ignore[reportAssignmentType]
    is_meta = property(lambda self: False)  # pyright: ignore[reportAssignmentType]

    def __repr__(self, **_: Any) -> str:
        return f"OnCard({self.numbers!r})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise AssertionError("a tensor of the card is written without .cpu()")

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        copied = OnCard(self.numbers.detach().clone())
        if isinstance(self, torch.nn.Parameter):
            return torch.nn.Parameter(copied, self.requires_grad)
        return copied.requires_grad_(self.requires_grad)

    def new_tensor(self, data: Any, **options: Any) -> torch.Tensor:
        return torch.tensor(data, **{"dtype": self.dtype, "device": CARD} | options)

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} on a tensor of the card outside the pretended card")


class Event:
    """What records where the work of a card stands; waiting for it is noted."""

    def __init__(self, card: PretendedCard) -> None:
        self.card = card

    def record(self, stream: object = None) -> None:
        """Nothing: the work is done at once."""
        assert stream is not None, "an event of the current card, which may be another one"

    def synchronize(self) -> None:
        self.card._note("synchronize")


class MixedDevicesError(AssertionError):
    """One operator met tensors of the card and of the CPU."""


class PretendedCard(TorchDispatchMode):
    """Within it "cuda" is a device.

    Attributes:
        waits: What the host had to wait for: "file:line operator", in order.
        copies: Copies from the CPU to the card, likewise.
        launches: Operators that compute on the card, likewise; views and copies from the CPU are none. One may be
            several kernels.
    """

    def __init__(self, *inside: Path) -> None:
        super().__init__()
        self.inside = tuple(str(folder) for folder in inside)
        self.waits: list[str] = []
        self.copies: list[str] = []
        self.launches: list[str] = []

    def clear(self) -> None:
        """Forget what was noted."""
        for noted in (self.waits, self.copies, self.launches):
            noted.clear()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if func._can_decompose() and torch.is_inference_mode_enabled():
            with self:  # without gradients torch hands on what it takes apart otherwise
                return func.decompose(*args, **kwargs)
        if name in ("_to_copy", "copy_"):
            return self._copied(func, name, args, kwargs)
        tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
        on_card = [x for x in tensors if isinstance(x, OnCard)]
        made_there = _is_card(kwargs.get("device"))
        if not on_card and not made_there:
            return func(
                *args, **(kwargs | {"pin_memory": False} if "pin_memory" in kwargs else kwargs)
            )
        strangers = [x for x in tensors if not isinstance(x, OnCard) and x.ndim]
        if on_card and strangers:
            shapes = ", ".join(str(tuple(x.shape)) for x in strangers)
            raise MixedDevicesError(f"{self._place()} {name}: {shapes} on the CPU beside the card")
        if name in _WAITING or self._reads(name, args, kwargs):
            self._note(name)
        if not func.is_view and name not in _FREE:
            self.launches.append(f"{self._place()} {name}")
        plain_args, plain_kwargs = tree_map_only(OnCard, lambda x: x.numbers, (args, kwargs))
        if "device" in kwargs:
            plain_kwargs["device"] = _CPU
        out = tree_map(_wrapped, func(*plain_args, **plain_kwargs))
        if not on_card or name in _WAITING:
            return out
        return return_and_correct_aliasing(func, args, kwargs, out)

    def _copied(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        """Copies are the one thing that may cross."""
        if name == "copy_":
            into, source = args[:2]
            blocking = not (kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
            crosses = isinstance(into, OnCard) != isinstance(source, OnCard)
            if crosses and blocking:
                self._note("copy_")
            if crosses and isinstance(into, OnCard):
                self.copies.append(f"{self._place()} copy_")
            elif isinstance(into, OnCard):
                self.launches.append(f"{self._place()} copy_")
            numbers = [x.numbers if isinstance(x, OnCard) else x for x in (into, source)]
            numbers[0].copy_(numbers[1])
            return into
        source, device = args[0], kwargs.get("device")
        there = isinstance(source, OnCard)
        goes = there if device is None else _is_card(device)
        numbers = source.numbers if there else source
        if there != goes and not (kwargs.get("non_blocking") and goes):
            self._note("copy to the card" if goes else "copy to the CPU")
        if goes:
            (self.launches if there else self.copies).append(f"{self._place()} {name}")
        copied = func(numbers, *args[1:], **(kwargs | ({"device": _CPU} if goes else {})))
        return OnCard(copied) if goes else copied

    def _reads(self, name: str, args: Any, kwargs: Any) -> bool:
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
        return name == "repeat_interleave" and kwargs.get("output_size") is None

    def _note(self, what: str) -> None:
        self.waits.append(f"{self._place()} {what}")

    def _place(self) -> str:
        """The innermost line of the code that is looked at."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            for folder in self.inside:
                if frame.f_code.co_filename.startswith(folder):
                    file = Path(frame.f_code.co_filename).relative_to(Path(folder).parent)
                    return f"{file}:{frame.f_lineno}"
            frame = frame.f_back
        return "?"


def _is_card(device: Any) -> bool:
    """Whether a device is the card, of whose tensors torch itself believes that they are on "meta"."""
    return device is not None and torch.device(device).type in ("cuda", "meta")


def _wrapped(x: Any) -> Any:
    return OnCard(x) if isinstance(x, torch.Tensor) else x


def _carried(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """What makes a tensor from values of Python: first on the CPU, as torch does out of sight of the dispatcher."""

    def made(*args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
        given = make(*args, **kwargs)
        return given.to(CARD) if _is_card(device) else given

    return made


def _unpinned(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """What makes a tensor in pinned memory, in any memory."""

    def made(*args: Any, pin_memory: bool = False, **kwargs: Any) -> torch.Tensor:
        return make(*args, **kwargs)

    return made


def _to_card(move: Callable[..., torch.nn.Module]) -> Callable[..., torch.nn.Module]:
    """`Module.to` that keeps parameters the objects that they are, and with it tied weights tied."""

    def to(self: torch.nn.Module, device: Any, *rest: Any) -> torch.nn.Module:
        torch.__future__.set_swap_module_params_on_conversion(True)
        try:
            return move(self, CARD if _is_card(device) else device, *rest)
        finally:
            torch.__future__.set_swap_module_params_on_conversion(False)

    return to


def _without_card(load: Callable[..., Any]) -> Callable[..., Any]:
    """Loading by transformers, which puts weights on the real "meta" for a while."""

    def loaded(*args: Any, **kwargs: Any) -> Any:
        with ExitStack() as stack:
            stack.enter_context(_disable_current_modes())
            stack.enter_context(patch.object(torch.cuda, "is_available", lambda: False))
            for name, plain in _MAKERS.items():
                stack.enter_context(patch.object(torch, name, plain))
            return load(*args, **kwargs)

    return loaded


@contextmanager
def pretended_card(*inside: Path) -> Generator[PretendedCard]:
    """A card for the code of some folders, whose lines are named where the host waits."""
    with ExitStack() as stack:
        # torch keeps the makers of `with torch.device(…)` from its first use on: here these, and later those
        _device_constructors.cache_clear()
        stack.callback(_device_constructors.cache_clear)
        for name, value in {
            "_lazy_init": lambda: None,
            "is_available": lambda: True,
            "current_device": lambda: 0,
            "current_stream": lambda device: ("stream", device),
            "get_device_capability": lambda *_: (8, 0),
            "mem_get_info": lambda *_: (2**30, 2**30),
            "get_rng_state": lambda *_: torch.get_rng_state(),
            "set_rng_state": lambda state, *_: torch.set_rng_state(state),
        }.items():
            stack.enter_context(patch.object(torch.cuda, name, value))
        for name, plain in _MAKERS.items():
            stack.enter_context(patch.object(torch, name, _carried(plain)))
        # threads, such as the loader's, are not under the dispatcher
        stack.enter_context(patch.object(torch, "empty", _unpinned(torch.empty)))
        stack.enter_context(patch.object(torch.nn.Module, "to", _to_card(torch.nn.Module.to)))
        load = PreTrainedModel.from_pretrained.__func__  # pyright: ignore[reportFunctionMemberAccess]
        loaded = classmethod(_without_card(load))
        stack.enter_context(patch.object(PreTrainedModel, "from_pretrained", loaded))
        card = PretendedCard(*inside)
        stack.enter_context(patch.object(torch.cuda, "Event", lambda: Event(card)))
        yield stack.enter_context(card)
