"""Cost of shards: `textcl encode` into a folder beside one file, by turns, and again on the finished folder.

python eval/bench/shards.py --model FOLDER --lines sentences.txt --json out.json
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import facts


def encode(model: str, lines: Path, output: str) -> dict[str, float]:
    """Seconds of the whole command, start included."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "textcl", "encode", model, str(lines), "-o", output, "-q"]
    subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"processor": round(processor, 2), "clock": round(time.perf_counter() - started, 2)}


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--lines", type=Path, required=True, help="sentences, one a line")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    turns: list[dict[str, dict[str, float]]] = []
    for _ in range(options.turns):
        with tempfile.TemporaryDirectory() as place:
            turns.append({
                "file": encode(options.model, options.lines, f"{place}/vectors.npy"),
                "folder": encode(options.model, options.lines, f"{place}/vectors/"),
                "again": encode(options.model, options.lines, f"{place}/vectors/"),
            })  # fmt: skip
        print(json.dumps(turns[-1]), flush=True)
    ratios = [turn["folder"]["processor"] / turn["file"]["processor"] for turn in turns]
    result = {"folder / file": round(statistics.median(ratios), 3), "turns": turns, **facts()}
    print(json.dumps(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
