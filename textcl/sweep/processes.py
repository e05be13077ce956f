"""The processes of a sweep, which end when it is stopped."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import TextIO


class Processes:
    """The runs that are going on.

    A run is stopped by SIGTERM, on which it saves and ends. Ctrl-C in a terminal reaches it as well, and a second one
    ends it at once.
    """

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock, self._stopped = threading.Lock(), False

    def run(self, command: Sequence[str], log: TextIO, environment: Mapping[str, str]) -> int:
        """Run a command to its end; its exit code.

        Args:
            command: Program and arguments.
            log: Takes all that it says.
            environment: Of the process.
        """
        with self._lock:
            if self._stopped:
                return 128 + signal.SIGTERM
            process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=environment, text=True
            )
            self._running.add(process)
        try:
            return process.wait()
        finally:
            with self._lock:
                self._running.discard(process)

    def stop(self) -> None:
        """Ask every run to save and end, and start no other."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()
