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


TABLES = """
import resource, torch
from textcl import AnchorPositive, Contrastive, Embeddings
from textcl.contrast import table
from textcl.heap import freed_memory_kept

table.TILE_ELEMENTS = 2**21  # 8 MiB in float32, of the 36 of the whole table
objective = Contrastive(AnchorPositive(), 0.05)
anchor, positive = (torch.randn(3072, 16, requires_grad=True) for _ in range(2))

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

def faults_of_a_block():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(6 * 2**20).fill_(1.0)  # 24 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

for run in range(2):
    with freed_memory_kept():
        sizes = []
        for step in range(5):
            objective(Embeddings.of(anchor=anchor, positive=positive)).loss.backward()
            sizes.append(resident())
        print(max(sizes[2:]) - max(sizes[:2]), min(faults_of_a_block() for _ in range(3)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_large_tables_neither_grow_the_heap_nor_make_blocks_of_a_run_cost_their_pages_again():
    run = subprocess.run([sys.executable, "-c", TABLES], capture_output=True, text=True, check=True)
    for line in run.stdout.splitlines():  # a first and a second run of one process
        growth, faults = map(float, line.split())
        assert growth < 48
        assert faults < 1024  # where the heap does not keep a block, each use costs its 6,145 pages


def test_other_c_libraries_are_left_alone(monkeypatch):
    from textcl import heap

    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: object())
    with heap.freed_memory_kept():
        heap.return_freed_memory()
