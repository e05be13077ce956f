"""Inference precision: which there are, and where bfloat16 is fast."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from functools import cache

import torch
from torch import nn

from textcl.errors import UserError


def check_precision(precision: str | None) -> None:
    """Refuse what is neither None nor the name of a precision.

    Raises:
        UserError: If it is.
    """
    if precision not in (None, "float32", "bfloat16"):
        raise UserError(f"precision must be 'float32' or 'bfloat16', not {precision!r}")


def usable_device(device: str | torch.device | None) -> torch.device:
    """The device of that name; a GPU if there is one, else the CPU, when None.

    Raises:
        UserError: If torch knows no such device, or the machine has none.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        usable = torch.device(device)
        torch.empty(0, device=usable)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"there is no device {str(device)!r} here: {str(error).splitlines()[0]:.200}"
        ) from None
    return usable


@cache
def fast_bfloat16(device: str) -> bool:
    """Whether the machine multiplies bfloat16 faster than float32."""
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    if device != "cpu":
        return False
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in checks)


@cache
def fast_int8(device: str) -> bool:
    """Whether the machine multiplies whole numbers of one byte several times as fast as float32."""
    known = hasattr(torch, "_int_mm") and getattr(torch.cpu, "_is_vnni_supported", lambda: False)()
    return device == "cpu" and known


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


def usual_precision() -> str:
    """The precision that a model computes in on this machine when none is asked for."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return "bfloat16" if fast_bfloat16(device) else "float32"


@contextmanager
def inference(module: nn.Module, backbone: nn.Module, precision: str | None) -> Generator[None]:
    """Eval mode (undone at the end), no gradients, and bfloat16 where it pays.

    Args:
        module: The whole model.
        backbone: The part of it that may run in bfloat16.
        precision: "float32", "bfloat16", or None for bfloat16 where the machine is fast at it and there are matrices
            to multiply.

    Raises:
        UserError: If there is no such precision.
    """
    check_precision(precision)
    device = next(module.parameters()).device.type
    multiplies = any(isinstance(part, nn.Linear) for part in backbone.modules())
    low = precision == "bfloat16" or (precision is None and multiplies and fast_bfloat16(device))
    training = module.training
    module.eval()
    try:
        with in_bfloat16(backbone) if low else nullcontext(), torch.inference_mode():
            yield
    finally:
        module.train(training)
