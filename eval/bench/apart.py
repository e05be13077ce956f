"""Parts of a benchmark in a process of their own, each within a limit of time, with all rows that it got to."""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

Row = Mapping[str, object]
Parts = Mapping[str, Callable[[], Iterable[Row]]]


class Worker:
    """A process that measures parts when it is asked to.

    A new one follows where a part failed, for a card refuses everything after some errors, or took too long.

    Args:
        parts: Gives the parts by name, in the process; it can be pickled.
        environment: Variables of the process.
    """

    def __init__(self, parts: Callable[[], Parts], environment: Mapping[str, str]) -> None:
        self.parts, self.environment = parts, environment
        self.process: BaseProcess | None = None

    def measure(self, name: str, limit: float) -> list[Row]:
        """Rows of a part; the last one says what went wrong if anything did.

        Args:
            name: Of the part.
            limit: Seconds, a start of the process included.
        """
        end, rows = time.monotonic() + limit, list[Row]()
        try:
            if self.process is None:
                self._start()
            self.connection.send(name)
            while self.connection.poll(max(0.0, end - time.monotonic())):
                row = self.connection.recv()
                if row is None:
                    return rows
                rows.append(row)
                if "failed" in row:
                    break
            else:
                rows.append({"missing": f"not done within {limit:.0f} s"})
        except (EOFError, BrokenPipeError, ConnectionResetError):
            rows.append({"failed": "the process died"})
        self.close()
        return rows

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        process = context.Process(target=_serve, args=(other, self.parts, self.environment))
        process.start()
        self.process = process
        other.close()


def _serve(
    connection: Connection, make: Callable[[], Parts], environment: Mapping[str, str]
) -> None:
    os.environ.update(environment)
    parts = make()
    while True:
        name = connection.recv()
        try:
            for row in parts[name]():
                connection.send(row)
        except Exception:
            connection.send({"failed": traceback.format_exc()[-2000:]})
            os._exit(1)  # whatever the card thinks of it
        connection.send(None)
