"""One writer at a time: a lock that names who holds it and that dies with its process."""

from __future__ import annotations

import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from textcl.errors import UserError


@contextmanager
def sole_writer(lock: Path, what: str) -> Generator[None]:
    """Hold a lock while `what` is written; the system releases it when the process ends, however it does.

    Args:
        lock: File of the lock, whose folder is made; it holds host and process.
        what: What is written, for the message.

    Raises:
        UserError: If another process holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    holder = lock.with_suffix(".holder")
    try:
        with FileLock(lock, blocking=False):
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
            try:
                yield
            finally:
                holder.unlink(missing_ok=True)
    except Timeout:
        by = holder.read_text(encoding="utf-8") if holder.exists() else "another process"
        raise UserError(
            f"{what} is being written by {by}: wait until it has ended, or stop it"
        ) from None
