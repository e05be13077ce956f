"""Freed memory stays with the process while it trains, and goes back afterwards."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

GROWTH = """
import resource, torch
from textcl.heap import freed_memory_kept

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

def after_use():
    tensors = [torch.ones(2**22) for _ in range(12)]  # 16 MiB each
    del tensors
    return resident() - before

before = resident()
plain = after_use()
with freed_memory_kept():
    kept = after_use()
print(plain, kept, resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_memory_stays_while_training_and_goes_back_afterwards():
    run = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True)
    plain, kept, afterwards = map(float, run.stdout.split())
    assert plain < 80
    assert kept > 150
    assert afterwards < 80


def test_other_c_libraries_are_left_alone(monkeypatch):
    from textcl import heap

    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: object())
    with heap.freed_memory_kept():
        pass
