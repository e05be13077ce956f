"""The tests that need a card, as a part of a benchmark: in several processes, for most of their time is the host's."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROCESSES = 6

# a machine that is lent has other libraries than the tests know; what these warn of fails nothing
PYTEST = [
    *(sys.executable, "-m", "pytest", "-q", "-m", "gpu", "--tb=short"),
    *("-W", "default", "-p", "no:cacheprovider"),
]


def gpu_tests(device: str, seconds: float) -> Iterator[dict[str, object]]:
    """How many tests passed, and the last lines of each process in which one did not.

    Args:
        device: Where they run; on a CPU they are collected alone.
        seconds: What is not done then is stopped.
    """
    end = time.monotonic() + seconds
    names = collected()
    if device == "cpu":
        yield {"tests": len(names), "missing": "no GPU"}
        return
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / f"{part}.txt" for part in range(PROCESSES)]
        running = [
            subprocess.Popen(
                [*PYTEST, *names[part::PROCESSES]], cwd=ROOT, stderr=subprocess.STDOUT, stdout=output.open("wb")
            )
            for part, output in enumerate(outputs)
        ]  # fmt: skip
        for process, output in zip(running, outputs, strict=True):
            try:
                code = process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            lines = output.read_text(errors="replace").splitlines()
            shown = lines[-1:] if code == 0 else lines[-60:]
            yield {"passed": code == 0, "stopped": code < 0, "end": shown}


def collected() -> list[str]:
    """The tests of the files that have some, so that no other file needs its libraries."""
    files = sorted(
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if "mark.gpu" in path.read_text(encoding="utf-8")
    )
    done = subprocess.run(
        [*PYTEST, "--collect-only", *files], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"the tests cannot be collected: {done.stdout[-1500:]}")
    return [line for line in done.stdout.splitlines() if "::" in line]
