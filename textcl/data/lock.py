"""One writer at a time: a lock that names who holds it and that dies with its process."""

from __future__ import annotations

import os
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from textcl.data.files import check_writable
from textcl.errors import UserError


@contextmanager
def sole_writer(lock: Path, what: str) -> Generator[None]:
    """Hold a lock while `what` is written; the system releases it when the process ends, however it does.

    Args:
        lock: File of the lock, whose folder is made; it holds host and process.
        what: What is written, for the message.

    Raises:
        UserError: If another process holds it, or its folder cannot be written.
    """
    check_writable(lock.parent)
    lock.parent.mkdir(parents=True, exist_ok=True)
    holder = lock.with_suffix(".holder")
    try:
        with FileLock(lock, blocking=False):
            with suppress(OSError):  # a full disk: what is written will say so
                text = f"process {os.getpid()} on {socket.gethostname()}"
                holder.write_text(text, encoding="utf-8")
            try:
                yield
            finally:
                holder.unlink(missing_ok=True)
    except Timeout:
        by = holder.read_text(encoding="utf-8") if holder.exists() else "another process"
        raise UserError(
            f"{what} is being written by {by}: wait until it has ended, or stop it"
        ) from None


@contextmanager
def sole_writer_of(target: str | Path) -> Generator[None]:
    """Hold a file or folder that is being made, without leaving a lock beside it.

    Args:
        target: What is made; "-", standard output, needs no lock.

    Raises:
        UserError: If another process makes it.
    """
    path = Path(target).absolute()
    if str(target) == "-" or not path.parent.is_dir():  # where nothing can be made
        yield
        return
    lock = path.with_name(f".{path.name}.lock")
    with sole_writer(lock, str(target)):
        try:
            yield
        finally:
            with suppress(OSError):  # Windows keeps what is open
                lock.unlink()
