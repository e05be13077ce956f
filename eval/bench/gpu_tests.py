"""The tests that need a card, as a part of a benchmark: in several processes, for most of their time is the host's."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

BENCH, ROOT = Path(__file__).parent, Path(__file__).parents[2]
PROCESSES = 6

# a machine that is lent has other libraries than the tests know, and lacks some: what these warn of fails nothing, and
# a file that cannot be imported leaves the others alone
PYTEST = [
    *(sys.executable, "-m", "pytest", "-q", "-m", "gpu", "--tb=short"),
    *("-W", "default", "-p", "no:cacheprovider", "-p", "every_nth"),
    "--continue-on-collection-errors",
]


def gpu_tests(device: str, seconds: float) -> Iterator[dict[str, object]]:
    """The last lines of each process: one where all passed, more where one did not.

    Args:
        device: Where they run; a CPU runs none.
        seconds: What is not done then is stopped.
    """
    if device == "cpu":
        yield {"missing": "no GPU"}
        return
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / f"{part}.txt" for part in range(PROCESSES)]
        running = [started(part, output) for part, output in enumerate(outputs)]
        for process, output in zip(running, outputs, strict=True):
            try:
                code = process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            lines = output.read_text(errors="replace").splitlines()
            shown = lines[-1:] if code == 0 else lines[-60:]
            yield {"passed": code == 0, "stopped": code < 0, "end": shown}


def started(part: int, output: Path, *options: str) -> subprocess.Popen[bytes]:
    """One of the processes, of the files that have such tests, so that no other file needs its libraries."""
    files = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "mark.gpu" in path.read_text(encoding="utf-8")
    ]
    search = os.pathsep.join(filter(None, (str(BENCH), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": search, "PART": f"{part}/{PROCESSES}"}
    with output.open("wb") as file:
        return subprocess.Popen(
            [*PYTEST, *options, *files],
            cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
