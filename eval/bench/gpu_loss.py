"""InfoNCE over many rows as a part of a benchmark."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from gpu_training import Size

KINDS = ("whole", "tiled", "cached")  # the last is that of sentence-transformers


def info_nce(size: Size) -> Iterator[dict[str, object]]:
    """Each measurement in a process of its own; a table that does not fit says so."""
    script = Path(__file__).with_name("info_nce_memory.py")
    for rows, kind in itertools.product(size.rows, KINDS):
        command = [
            *(sys.executable, script, "--measure", kind),
            *("--rows", str(rows), "--width", str(size.width)),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        why = (done.stderr.strip().splitlines() or ["killed"])[-1][:160]
        about = {"rows": rows, "width": size.width, "kind": kind}
        yield {**about, "missing": why} if done.returncode else json.loads(done.stdout)
