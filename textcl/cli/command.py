"""Common parts of all commands: `--offline`, `--debug`, plain help, and one line when a command is stopped."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from textcl.cli.options import GENERAL
from textcl.errors import RunError, UserError

if TYPE_CHECKING:
    from rich.console import Console

Kept = Callable[[Mapping[str, object]], str]
"""From the parameters of a command to what is kept when it is stopped."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which batch systems and containers send."""

    signal_number = signal.SIGTERM


class StoppedError(RunError):
    """A command was stopped by a signal.

    Args:
        message: What is kept.
        signal_number: The signal; the process ends with 128 plus this number.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number

    @classmethod
    def by(cls, interrupt: KeyboardInterrupt, kept: str = "") -> StoppedError:
        """The end of a command that Ctrl-C or SIGTERM stopped."""
        number = getattr(interrupt, "signal_number", signal.SIGINT)
        return cls(f"stopped{'; ' if kept else ''}{kept}", number)


def terminate(_number: int, _frame: object) -> None:
    """Handle SIGTERM as Ctrl-C is handled: what is half done is cleaned up."""
    raise Terminated


@dataclass
class Stop:
    """Whether a signal asked the command to stop.

    Args:
        signal_number: The signal; 0 if none came.
    """

    signal_number: int = 0


@contextmanager
def finish_first(log: Console, what: str) -> Generator[Stop]:
    """Let the block finish what it is at when Ctrl-C or SIGTERM comes; a second one stops it at once.

    Args:
        log: Where the wait is announced.
        what: What is finished, such as "the shard".

    Yields:
        What the block asks between two pieces of its work.
    """
    stop = Stop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _frame: object) -> None:
        stop.signal_number = number
        for each, handler in before.items():
            signal.signal(each, handler)
        log.print(f"textcl: stopping after {what}; a second signal stops at once")

    try:
        for number in before:
            signal.signal(number, ask)
    except ValueError:  # not in the main thread, which is where signals arrive
        yield stop
        return
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Command(TyperCommand):
    """A command with the options that all have."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        known = {name for parameter in self.params for name in parameter.opts}
        self.params += [p for p in _general() if not known & set(p.opts)]
        _quieten(self.params)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the arguments in; an option that has one value is refused where it is given two."""
        if not ctx.resilient_parsing:
            _, _, order = self.make_parser(ctx).parse_args(args=list(args))
            counts = Counter(p for p in order if not (p.multiple or _is_flag(p)))
            for parameter in (p for p, count in counts.items() if count > 1):
                raise UserError(
                    f"{max(parameter.opts, key=len)} is given twice and takes one value: leave one out"
                )
        return super().parse_args(ctx, args)

    def get_help_option(self, ctx: Any) -> Any:
        """`--help`, in the panel of the options that all commands have."""
        return _in_general(super().get_help_option(ctx))


class Group(TyperGroup):
    """`textcl` itself."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        _quieten(self.params)

    def get_help_option(self, ctx: Any) -> Any:
        """`--help`."""
        return _in_general(super().get_help_option(ctx))


def stoppable(kept: Kept) -> type[Command]:
    """The class of a command that says in one line what is kept when it is stopped."""

    class Stoppable(Command):
        def invoke(self, ctx: Any) -> Any:
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt as interrupt:
                raise StoppedError.by(interrupt, kept(ctx.params)) from None

    return Stoppable


def set_offline(value: bool) -> bool:
    """Keep the libraries from asking the network."""
    if value:
        os.environ["HF_HUB_OFFLINE"] = "1"
    return value


Offline = Annotated[
    bool,
    typer.Option(
        "--offline",
        callback=set_offline,
        is_eager=True,
        help="Use only files on this machine: no request to the hub.",
        rich_help_panel=GENERAL,
    ),
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug", help="Show the traceback of an unexpected error.", rich_help_panel=GENERAL
    ),
]


def _general() -> list[Any]:
    """`--offline` and `--debug`, which `main` reads before any command does."""

    def options(offline: Offline = False, debug: Debug = False) -> None: ...

    app = typer.Typer(add_completion=False)
    app.command()(options)
    parameters = typer.main.get_command(app).params
    for parameter in parameters:
        parameter.expose_value = False
    return parameters


def _quieten(parameters: list[Any]) -> None:
    """Show no type beside a switch."""
    for parameter in parameters:
        if _is_flag(parameter):
            parameter.metavar = ""


def _is_flag(parameter: Any) -> bool:
    return getattr(parameter, "is_flag", False)


def _in_general(option: Any) -> Any:
    if option is not None:
        option.metavar, option.rich_help_panel = "", GENERAL
    return option
