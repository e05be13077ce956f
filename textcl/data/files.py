"""Files and folders that appear whole under their name, or not at all: the one writer of the package.

What is being written lies beside its target under a name that contains the machine and the process. A process that dies
leaves it there, and the next one that writes in the folder removes it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from textcl.data.json_text import to_json
from textcl.errors import RunError, UserError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NO_SPACE_WORDS = ("No space left", "Disk quota exceeded", "os error 28", "os error 122")
_HOST = hashlib.blake2b(platform.node().encode(), digest_size=4).hexdigest()
_BESIDE = re.compile(r"\.(.+)\." + _HOST + r"-(\d+)-[0-9a-f]{8}\.(part|old)")
_swept = set[Path]()
_REPLACEABLE = (
    "config.json",
    "modules.json",
    "adapter_config.json",
    "textcl.json",
    "textcl_export.json",
    "manifest.json",
    "review.html",
)
"""Files that folders of models, exports, vectors, indexes and reviews hold; a folder without any is not replaced."""


@runtime_checkable
class WritesBytes(Protocol):
    """Target of lines: a file, or standard output, which need not seek."""

    def write(self, data: bytes, /) -> int:
        """Write some bytes."""
        ...


def output_format(target: str | Path, endings: Collection[str], *, overwrite: bool = False) -> str:
    """The format that the name of `target` asks for, once it is certain that it may be written.

    Args:
        target: A file to be, or "-" for JSON lines on standard output.
        endings: The formats that can be written.
        overwrite: Whether an existing file may be replaced.

    Raises:
        UserError: If the name has no known ending, the folder does not exist, or the file does.
    """
    if str(target) == "-":
        return "jsonl"
    path = Path(target)
    format = path.suffix.removeprefix(".").lower()
    if format not in endings:
        raise UserError(
            f"{target}: the output must end in {', '.join('.' + name for name in endings)}, or be - for standard output"
        )
    check_writable(path.parent)
    if not path.parent.is_dir():
        raise UserError(f"{target}: the folder {path.parent} does not exist; make it first")
    if path.is_dir():
        raise UserError(f"{target} is a folder; name a file")
    if path.exists() and not overwrite:
        raise UserError(f"{target} exists already; say --overwrite to replace it")
    return format


def file_sha256(path: Path) -> str:
    """Hash of the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_writable(folder: Path) -> None:
    """Find out before any work whether files can be made in a folder, or in the one that it would be made in.

    Raises:
        UserError: If it cannot be written, or one of its parents is a file.
    """
    existing = next(
        path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()
    )
    if not existing.is_dir():
        raise UserError(f"{existing} is a file, so nothing can be written under it: name a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"you may not write to the folder {existing}: name another")


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
    with whole_path(path) as part:
        try:
            file = part.open("xb")
        except OSError as error:
            raise _unwritable(path.parent, error) from error
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all.

    Raises:
        UserError: If no file can be made in that folder.
        RunError: If the disk fills up.
    """
    with atomic_write(path) as file:
        file.write(text.encode())


def write_json(path: Path, content: object) -> None:
    """Write a JSON file whole or not at all; `textcl.data.json_files` reads it.

    Args:
        path: The file to make or replace.
        content: As for `to_json`.

    Raises:
        UserError: If no file can be made in that folder.
        RunError: If the disk fills up.
    """
    write_text(path, to_json(content))


@contextmanager
def replacing(target: Path) -> Generator[Path]:
    """A new folder beside `target` that takes its place when the block ends well, and vanishes otherwise.

    Raises:
        UserError: If `target` is a file or a folder of something else, or no folder can be made there.
        RunError: If the disk fills up.
    """
    target = target.absolute()
    require_replaceable(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(target.parent, error) from error
    with whole_path(target) as part:
        try:
            part.mkdir()
        except OSError as error:
            raise _unwritable(target.parent, error) from error
        yield part


def require_replaceable(target: Path, marks: Sequence[str] = _REPLACEABLE) -> None:
    """Refuse to replace what may be anything else than a folder of textcl or of a neighbour.

    Args:
        target: The folder to be.
        marks: Files of which one tells that a folder may be replaced.

    Raises:
        UserError: If it is a file, holds the working directory, or is not empty and holds none of the marks.
    """
    target = target.absolute()
    if not target.exists():
        return
    if not target.is_dir():
        raise UserError(f"{target} is a file: name a folder")
    if target.resolve() in (here := Path.cwd().resolve(), *here.parents):
        raise UserError(
            f"{target} holds the working directory and would be replaced as a whole: name a folder inside it"
        )
    if any(target.iterdir()) and not any((target / name).exists() for name in marks):
        raise UserError(
            f"{target} holds something else ({min(path.name for path in target.iterdir())}) and would be replaced as a "
            "whole: name another folder"
        )


@contextmanager
def whole_path(target: Path) -> Generator[Path]:
    """A path beside `target` for a file or folder that another library writes.

    What is made there is moved to `target` when the block ends well, and removed otherwise.

    Raises:
        RunError: If the disk fills up.
    """
    remove_stale(target.parent)
    part, old = _beside(target, "part"), _beside(target, "old")
    try:
        yield part
        if part.is_dir() and target.exists():
            target.rename(old)
        part.replace(target)
    except Exception as error:
        if _is_full(error):
            raise RunError(
                f"the disk is full: {target} could not be finished and nothing of it was left; "
                "free some space or name a folder on another disk"
            ) from error
        raise
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        _remove(part)
        _remove(old)


@contextmanager
def full_disk_named(kept: str) -> Generator[None]:
    """End the block in one sentence where the disk fills up.

    Args:
        kept: What is kept of the work, and how to go on.

    Raises:
        RunError: If the disk fills up.
    """
    try:
        yield
    except Exception as error:
        if _is_full(error) or (error.__cause__ is not None and _is_full(error.__cause__)):
            raise RunError(f"the disk is full: {kept}") from error
        raise


def remove_stale(folder: Path) -> None:
    """Remove what processes of this machine that are no longer alive were writing in a folder; looked for once.

    A folder that was moved out of the way is put back if nothing took its place.
    """
    folder = folder.absolute()
    if folder in _swept or not folder.is_dir():
        return
    _swept.add(folder)
    for path in list(folder.iterdir()):
        match = _BESIDE.fullmatch(path.name)
        if match is None or _is_alive(int(match[2])):
            continue
        with suppress(OSError):
            if match[3] == "old" and not (folder / match[1]).exists():
                path.rename(folder / match[1])
            _remove(path)


def _beside(target: Path, kind: str) -> Path:
    mark = f"{_HOST}-{os.getpid()}-{secrets.token_hex(4)}"
    return target.with_name(f".{target.name}.{mark}.{kind}")


def _is_alive(process: int) -> bool:
    if os.name == "nt":  # where signal 0 is no question
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def _is_full(error: BaseException) -> bool:
    """Whether a write failed for want of space; safetensors says so in words only."""
    return getattr(error, "errno", None) in _NO_SPACE or any(
        words in str(error) for words in _NO_SPACE_WORDS
    )


def _unwritable(folder: Path, error: OSError) -> UserError | RunError:
    if error.errno in _NO_SPACE:
        return RunError(f"the disk is full: nothing can be written in {folder}; free some space")
    reason = error.strerror or type(error).__name__
    return UserError(
        f"cannot write in the folder {folder} ({reason}): name a folder that exists and that you may write to"
    )
