"""Files that appear whole under their name, or not at all."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from textcl.errors import RunError, UserError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


def output_format(target: str | Path, endings: Collection[str], *, overwrite: bool = False) -> str:
    """The format that the name of `target` asks for, once it is sure that it may be written.

    Args:
        target: A file to be, or "-" for JSON lines on standard output.
        endings: The formats that can be written.
        overwrite: Whether the file may be there already.

    Raises:
        UserError: If the name has no known ending, the folder is not there, or the file is.
    """
    if str(target) == "-":
        return "jsonl"
    path = Path(target)
    format = path.suffix.removeprefix(".").lower()
    if format not in endings:
        raise UserError(
            f"{target}: the output must end in {', '.join('.' + name for name in endings)}, or be - for standard output"
        )
    if not path.parent.is_dir():
        raise UserError(f"{target}: the folder {path.parent} does not exist; make it first")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"{target}: you may not write to the folder {path.parent}; name another")
    if path.is_dir():
        raise UserError(f"{target} is a folder; name a file")
    if path.exists() and not overwrite:
        raise UserError(f"{target} exists already; say --overwrite to replace it")
    return format


@contextmanager
def atomic_write(path: Path) -> Generator[BinaryIO]:
    """Open a file beside `path` for writing, and rename it to `path` when the block ends well.

    Whatever goes wrong, nothing half-written stays and an older file at `path` is untouched.

    Args:
        path: The file to make or replace.

    Yields:
        The open file, which can seek.

    Raises:
        UserError: If no file can be made in that folder.
        RunError: If the disk fills up.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        file = partial.open("xb")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(
            f"cannot write in the folder {path.parent} ({reason}): name a folder that exists and that you may write to"
        ) from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise RunError(
                f"the disk is full: {path} could not be finished and nothing of it was left; "
                "free some space or name a folder on another disk"
            ) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)


@contextmanager
def replacing(target: Path) -> Generator[Path]:
    """A new folder beside `target` that takes its place when the block ends well, and vanishes otherwise."""
    target = target.absolute()
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file: name a folder for the model")
    mark = secrets.token_hex(4)
    new, old = (target.with_name(f".{target.name}.{mark}.{kind}") for kind in ("part", "old"))
    new.mkdir(parents=True)
    try:
        yield new
        if target.exists():
            target.rename(old)
        new.rename(target)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def read_json(path: Path) -> Any:
    """The content of a JSON file; nothing if there is no such file.

    Raises:
        UserError: If it is not JSON.
    """
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON: {error}") from error
