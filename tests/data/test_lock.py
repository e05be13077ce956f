"""One writer at a time, and a dead one holds nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from textcl.data.lock import sole_writer
from textcl.errors import UserError

HOLD = """
import sys, time
from pathlib import Path
from textcl.data.lock import sole_writer

with sole_writer(Path(sys.argv[1]), "the run"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_writer_is_refused_and_told_who_holds_it(tmp_path):
    lock, holder = tmp_path / "checkpoints" / ".lock", f"process {os.getpid()} on "
    with (
        sole_writer(lock, "the run in x"),
        pytest.raises(UserError, match=f"the run in x is being written by {holder}"),
        sole_writer(lock, "the run in x"),
    ):
        pass
    with sole_writer(lock, "the run in x"):
        assert holder in lock.with_suffix(".holder").read_text()


def test_a_killed_writer_holds_nothing(tmp_path):
    lock = tmp_path / ".lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(UserError, match=f"process {other.pid} on "),
            sole_writer(lock, "the run"),
        ):
            pass
        other.send_signal(signal.SIGKILL)
    with sole_writer(lock, "the run"):
        pass
