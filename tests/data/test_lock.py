"""One writer at a time, and a dead one holds nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from textcl.data.lock import sole_writer, sole_writer_of
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


def test_a_file_that_is_being_made_has_one_writer_and_no_lock_stays_beside_it(tmp_path):
    target = tmp_path / "out.npy"
    with (
        sole_writer_of(target),
        pytest.raises(UserError, match=r"out\.npy is being written by process"),
        sole_writer_of(target),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
    with sole_writer_of("-"), sole_writer_of("-"), sole_writer_of(tmp_path / "no" / "out.npy"):
        assert list(tmp_path.iterdir()) == []
