"""The two kinds of errors that reach a user as one sentence."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake that the user can mend: the command line prints it and exits with 2.

    The message says what was expected, what came, where (file and line), and what to do.
    """


class RunError(RuntimeError):
    """A failure of a run that was asked for correctly: printed as one sentence, exit code 1."""
