"""The command line: one file a subcommand, and one place where errors become exit codes."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator


def main() -> None:
    """Run `textcl`.

    Exits with 2 for a mistake of the user, 1 for a failure, 130 after Ctrl-C and 143 after SIGTERM.
    """
    arguments = sys.argv[1:]
    if "--offline" in arguments:
        # read by the libraries when they are imported, so it is set before any of them is
        os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

    from textcl.cli.app import app
    from textcl.cli.command import StoppedError, terminate

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        app(arguments, prog_name="textcl")
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in arguments:
            raise
        from textcl.terminal import harmless

        shown = StoppedError.by(error) if isinstance(error, KeyboardInterrupt) else error
        sys.stderr.write(f"textcl: {harmless(_message(shown))}\n")
        sys.exit(_exit_code(shown))
    finally:
        signal.signal(signal.SIGTERM, before)


def _message(error: Exception) -> str:
    from textcl.errors import RunError, UserError

    if isinstance(error, UserError | RunError):
        return str(error)
    if full := next(filter(_is_full_disk, _chain(error)), None):
        name = getattr(full, "filename", None)
        place = f" of {name}" if name else ""
        return (
            f"the disk{place} is full: free some space and start again; what was complete is kept"
        )
    text = str(error) or type(error).__name__
    return f"{type(error).__name__}: {text} (run again with --debug for the traceback)"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_full_disk(error: BaseException) -> bool:
    """Whether an error is a full disk; some libraries say so only in their text."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT))


def _exit_code(error: Exception) -> int:
    from textcl.errors import UserError

    if number := getattr(error, "signal_number", 0):
        return 128 + int(number)
    return 2 if isinstance(error, UserError) else 1
