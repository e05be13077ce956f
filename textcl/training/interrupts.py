"""Interrupts: the first Ctrl-C or SIGTERM asks the loop to save and stop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import torch

from textcl.distributed import World
from textcl.errors import RunError


class InterruptedRunError(RunError):
    """The run was stopped by a signal, and is saved.

    Args:
        message: For the user.
        signal_number: The signal; the process ends with 128 plus this number.
    """

    def __init__(self, message: str, signal_number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class Interrupts:
    """Signals that came while a run trains.

    Args:
        world: The processes that train together; they stop after one and the same update.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.signal_number = 0

    @contextmanager
    def watched(self) -> Generator[None]:
        """Note Ctrl-C and SIGTERM (which Slurm, Docker and Kubernetes send) instead of ending the process.

        A second Ctrl-C stops at once. With several processes every further one is ignored: their launcher passes the
        first on a second time.
        """
        before: dict[int, Callable[..., object] | int | None] = {}

        def ask(number: int, _frame: object) -> None:
            self.signal_number = number
            if self.world.size == 1 and number == signal.SIGINT:
                signal.signal(signal.SIGINT, signal.default_int_handler)

        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                before[number] = signal.signal(number, ask)
        except ValueError:  # not in the main thread, which is where signals arrive
            yield
            return
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def asked(self, at_log: bool, device: torch.device) -> bool:
        """Whether to stop after this update.

        Args:
            at_log: Whether the update is logged: only then do several processes ask each other.
            device: Where they talk.
        """
        if self.world.size == 1:
            return bool(self.signal_number)
        if not at_log:
            return False
        asked = torch.tensor(float(bool(self.signal_number)), device=device)
        if not self.world.sum(asked) > 0:
            return False
        self.signal_number = self.signal_number or signal.SIGINT  # where another process got it
        return True

    def error(self, step: int, total: int, folder: Path) -> InterruptedRunError:
        """The error that ends a run that was stopped and saved.

        Args:
            step: Updates done.
            total: Updates of the whole run.
            folder: The run.
        """
        return InterruptedRunError(
            f"stopped after update {step} of {total} and saved; go on with: textcl train --resume {folder}",
            self.signal_number,
        )
