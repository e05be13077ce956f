"""Parts of a benchmark that die or hang leave what they measured before, and the others run."""

from __future__ import annotations

from pathlib import Path

BENCH = Path(__file__).parents[2] / "eval" / "bench"
PARTS = """
import os, time

def good():
    yield {"rows": 1}
    yield {"environment": os.environ["PART"]}

def raises():
    yield {"rows": 1}
    raise ValueError("a part that fails")

def dies():
    yield {"rows": 1}
    os._exit(3)

def hangs():
    yield {"rows": 1}
    time.sleep(60)

def parts():
    return {"good": good, "raises": raises, "dies": dies, "hangs": hangs}
"""


def test_a_part_that_fails_fails_alone(tmp_path, monkeypatch):
    (tmp_path / "some_parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(BENCH)
    monkeypatch.syspath_prepend(tmp_path)
    from apart import Worker  # pyright: ignore[reportMissingImports]
    from some_parts import parts  # pyright: ignore[reportMissingImports]

    worker = Worker(parts, {"PART": "its own"})
    assert worker.measure("good", 60) == [{"rows": 1}, {"environment": "its own"}]
    assert worker.measure("hangs", 0.5) == [{"rows": 1}, {"missing": "not done within 0 s"}]
    first, failed = worker.measure("raises", 60)
    assert first == {"rows": 1}
    assert "a part that fails" in failed["failed"]
    assert worker.measure("dies", 60) == [{"rows": 1}, {"failed": "the process died"}]
    assert worker.measure("good", 60)[0] == {"rows": 1}
    worker.close()
