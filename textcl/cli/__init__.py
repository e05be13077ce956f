"""The command line: one file a subcommand, and one place where errors become exit codes."""

from __future__ import annotations

import errno
import os
import sys


def main() -> None:
    """Run `textcl`; exit with 2 for a mistake of the user, 1 for a failure."""
    arguments = sys.argv[1:]
    if "--offline" in arguments:
        # read by the libraries when they are imported, so it is set before any of them is
        os.environ["HF_HUB_OFFLINE"] = "1"
        arguments = [argument for argument in arguments if argument != "--offline"]
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

    from textcl.cli.app import app
    from textcl.errors import RunError, UserError

    try:
        app(arguments, prog_name="textcl")
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            place = f" of {error.filename}" if error.filename else ""
            error = RunError(
                f"the disk{place} is full: make room and start again; what was whole before is kept"
            )
        text = str(error) or type(error).__name__
        if not isinstance(error, UserError | RunError | KeyboardInterrupt):
            text = f"{type(error).__name__}: {text} (run again with --debug for the traceback)"
        sys.stderr.write(f"textcl: {text}\n")
        sys.exit(_exit_code(error))


def _exit_code(error: BaseException) -> int:
    from textcl.errors import UserError

    if isinstance(error, KeyboardInterrupt):
        return 130
    if number := getattr(error, "signal_number", 0):  # an interrupted run
        return 128 + int(number)
    return 2 if isinstance(error, UserError) else 1
