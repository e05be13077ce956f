"""Many small tensors to a device in one copy.

A copy costs the host tens of microseconds however little is copied, and a batch is a few dozen small tensors. Here
those of a value, however deep they lie in its dataclasses, mappings and sequences, are put behind one another in one
buffer, and each is a view of the buffer's copy on the device.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import TypeVar, cast

import torch
from jaxtyping import UInt8
from torch import Tensor

ON_HOST = {"on_host": True}
"""Metadata of a field of a dataclass whose tensors stay on the CPU, such as those that sizes are read from."""

_ALIGNED = 16  # bytes; where a tensor may begin

T = TypeVar("T")


def tensors_of(value: object) -> Iterator[Tensor]:
    """The tensors inside a value that move with it to a device."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in cast("Mapping[object, object]", value).values():
            yield from tensors_of(part)
    elif isinstance(value, tuple | list):
        for part in cast("tuple[object, ...]", value):
            yield from tensors_of(part)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            if "on_host" not in field.metadata:
                yield from tensors_of(getattr(value, field.name))


def signature_of(value: object) -> Hashable:
    """All that is known of a value without reading its tensors, but for those that stay on the host.

    Two values of one signature have tensors of the same shapes and types at the same places.
    """
    if isinstance(value, Tensor):
        return value.shape, value.dtype
    if isinstance(value, Mapping):
        mapping = cast("Mapping[Hashable, object]", value)
        return tuple((key, signature_of(part)) for key, part in mapping.items())
    if isinstance(value, tuple | list):
        return tuple(signature_of(part) for part in cast("tuple[object, ...]", value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {f: getattr(value, f.name) for f in dataclasses.fields(value)}
        return type(value), *(
            (part.shape, part.numpy().tobytes())
            if "on_host" in field.metadata and isinstance(part, Tensor)
            else signature_of(part)
            for field, part in parts.items()
        )
    return cast("Hashable", value)


def with_tensors(value: T, change: Callable[[Tensor], Tensor]) -> T:
    """The same value with other tensors; parts of it in which none changes are the very same objects."""
    return cast("T", _changed(value, change))


def _changed(value: object, change: Callable[[Tensor], Tensor]) -> object:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        mapping = cast("Mapping[object, object]", value)
        parts = {key: _changed(part, change) for key, part in mapping.items()}
        return value if all(parts[key] is part for key, part in mapping.items()) else parts
    if isinstance(value, tuple | list):
        sequence = cast("tuple[object, ...]", value)
        changed = [_changed(part, change) for part in sequence]
        same = all(new is old for new, old in zip(changed, sequence, strict=True))
        return value if same else type(value)(changed)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        old = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        moving = [f.name for f in dataclasses.fields(value) if "on_host" not in f.metadata]
        new = {name: _changed(old[name], change) for name in moving}
        changed = {name: part for name, part in new.items() if part is not old[name]}
        return dataclasses.replace(value, **changed) if changed else value
    return value


def in_one_buffer(value: T, *, pin: bool) -> T:
    """The same value, whose tensors of the CPU are views of one buffer.

    Args:
        value: Holds any tensors.
        pin: Whether the buffer lies in pinned memory, from which a copy to CUDA does not hold up the host.
    """
    parts = _distinct(value)
    starts, size = _places(parts)
    buffer = torch.empty(size, dtype=torch.uint8, pin_memory=pin)
    views = {id(x): _view(buffer, start, x) for x, start in zip(parts, starts, strict=True)}
    for part in parts:
        views[id(part)].copy_(part)
    return with_tensors(value, lambda x: views.get(id(x), x))


def to_device(value: T, device: torch.device | str) -> T:
    """The same value with all of its tensors on a device; those of the CPU get there in one copy.

    Args:
        value: Holds any tensors. What `in_one_buffer` gave is copied as it is.
        device: Where they go.
    """
    device = torch.device(device)
    if all(_is_on(x, device) for x in tensors_of(value)):
        return value
    if device.type == "cpu":
        return with_tensors(value, lambda x: x.to(device))
    parts = _distinct(value)
    starts, size = _places(parts)
    if not _share_buffer(parts, starts):
        value = in_one_buffer(value, pin=device.type == "cuda")
        parts = _distinct(value)
    copies: dict[int, Tensor] = {}
    if parts:
        storage = parts[0].untyped_storage()
        buffer = torch.empty(0, dtype=torch.uint8).set_(storage)[:size]
        copied = buffer.to(device, non_blocking=True)
        copies = {id(x): _view(copied, start, x) for x, start in zip(parts, starts, strict=True)}
    return with_tensors(
        value, lambda x: copies[id(x)] if id(x) in copies else x.to(device, non_blocking=True)
    )


def _distinct(value: object) -> list[Tensor]:
    """The tensors of the CPU, each once."""
    return list({id(x): x for x in tensors_of(value) if x.device.type == "cpu"}.values())


def _places(parts: list[Tensor]) -> tuple[list[int], int]:
    """At which byte of the buffer each tensor begins, and the size of the buffer."""
    starts: list[int] = []
    size = 0
    for part in parts:
        starts.append(size)
        size += -(-part.numel() * part.element_size() // _ALIGNED) * _ALIGNED
    return starts, size


def _share_buffer(parts: list[Tensor], starts: list[int]) -> bool:
    """Whether the tensors lie in one buffer already, at these places."""
    first = parts[0].untyped_storage().data_ptr() if parts else 0
    return all(
        x.untyped_storage().data_ptr() == first
        and x.storage_offset() * x.element_size() == start
        and x.is_contiguous()
        for x, start in zip(parts, starts, strict=True)
    )


def _view(buffer: UInt8[Tensor, " N"], start: int, like: Tensor) -> Tensor:
    stop = start + like.numel() * like.element_size()
    return buffer[start:stop].view(like.dtype).view(like.shape)


def _is_on(x: Tensor, device: torch.device) -> bool:
    return x.device.type == device.type and device.index in (None, x.device.index)
