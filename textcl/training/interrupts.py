"""Interrupts: the first Ctrl-C asks the loop to save and stop."""

from __future__ import annotations

from textcl.errors import RunError


class InterruptedRunError(RunError):
    """The user stopped the run; it is saved."""
