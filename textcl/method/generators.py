"""States of torch's random generators, recorded and restored."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Generators:
    """The states of torch's generators that a forward pass on one device draws from."""

    cpu: Tensor
    device: torch.device
    own: Tensor | None

    @classmethod
    def now(cls, device: torch.device) -> Generators:
        """The states before a forward pass on `device`."""
        own = None if device.type == "cpu" else _state_of(device)
        return cls(torch.get_rng_state(), device, own)

    @contextmanager
    def replayed(self) -> Generator[None]:
        """Draw again what was drawn after `now`, and leave the generators as they were."""
        before = Generators.now(self.device)
        self._put_back()
        try:
            yield
        finally:
            before._put_back()

    def _put_back(self) -> None:
        torch.set_rng_state(self.cpu)
        if self.own is not None:
            module = torch.get_device_module(self.device)
            # MPS has one generator and takes no device
            module.set_rng_state(
                *([self.own] if self.device.type == "mps" else [self.own, self.device])
            )


def _state_of(device: torch.device) -> Tensor:
    module = torch.get_device_module(device)
    return module.get_rng_state() if device.type == "mps" else module.get_rng_state(device)
