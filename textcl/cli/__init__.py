"""The command line: one file a subcommand, and one place where errors become exit codes."""

from __future__ import annotations

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
    from textcl.errors import UserError

    try:
        app(arguments, prog_name="textcl")
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        code = (
            2
            if isinstance(error, UserError)
            else 130
            if isinstance(error, KeyboardInterrupt)
            else 1
        )
        text = str(error) or type(error).__name__
        if not _is_ours(error):
            text = f"{type(error).__name__}: {text} (run again with --debug for the traceback)"
        sys.stderr.write(f"textcl: {text}\n")
        sys.exit(code)


def _is_ours(error: BaseException) -> bool:
    from textcl.errors import RunError, UserError

    return isinstance(error, UserError | RunError | KeyboardInterrupt)
