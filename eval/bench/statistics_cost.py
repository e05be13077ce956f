"""Cost of the in-training statistics: the same runs with and without them, in turns, in one process.

The first three layers of all-MiniLM-L6-v2, unsup-simcse at batch 128, and MoCo with a queue of 65,536 keys, the widest
table that a recipe makes. Statistics are computed for every line of the log; the runs log at every update, which is the
worst case, and the default is every tenth. `share` is the time spent in them over the time of all updates of the same
run; `ratio` is that of whole runs, which on a busy machine is noisier than what it measures.

python eval/bench/statistics_cost.py --data sentences.txt [--pairs 5] [--steps 13]
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from common import facts, in_pairs
from rich.console import Console
from train_step import SKIP, Clock

import textcl.objectives.contrastive
import textcl.training.log
import textcl.training.session
from textcl.training.session import train

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
PLACES = (
    (textcl.objectives.contrastive, "table_statistics"),
    (textcl.training.log, "dimension_spread"),
)
CASES = {
    "unsup-simcse, batch 128": ("unsup-simcse", {}),
    "moco, batch 128, queue 65536": ("moco", {"queue": 65536}),
}


class Spent:
    """Seconds in the statistics, by update."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def timed(self, function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            began = time.perf_counter()
            result = function(*args, **kwargs)
            self.seconds.append(time.perf_counter() - began)
            return result

        return call


def run(recipe: str, more: dict[str, Any], data: Path, steps: int, spent: Spent | None) -> float:
    """Seconds of all updates but the first; without `spent` no statistics are computed."""
    clock, loop = Clock(), textcl.training.session.run_loop
    kept = [getattr(module, name) for module, name in PLACES]
    for (module, name), function in zip(PLACES, kept, strict=True):
        setattr(module, name, spent.timed(function) if spent else lambda *_, **__: {})

    def with_clock(method, *args, **kwargs):
        object.__setattr__(method, "hooks", [*method.hooks, clock])
        for queue in method.state.values():  # as after many updates
            queue.enqueue(torch.randn(queue.size, queue.dimension))
        return loop(method, *args, **kwargs)

    textcl.training.session.run_loop = with_clock
    settings = {"num_layers": 3, "batch_size": 128, "max_length": 50, "steps": steps}
    settings |= {"log_every": 1, "save_every": 0, **more}
    try:
        with tempfile.TemporaryDirectory() as folder:
            train(
                recipe, model=MODEL, data=str(data), dev="", output=f"{folder}/run",
                settings=settings, console=Console(file=io.StringIO()),
            )  # fmt: skip
    finally:
        textcl.training.session.run_loop = loop
        for (module, name), function in zip(PLACES, kept, strict=True):
            setattr(module, name, function)
    return clock.seconds()


def measure(case: str, data: Path, pairs: int, steps: int) -> dict[str, object]:
    """The cost in one case."""
    recipe, more = CASES[case]
    shares: list[float] = []
    calls: list[float] = []

    def with_statistics() -> float:
        spent = Spent()
        seconds = run(recipe, more, data, steps, spent)
        mine = spent.seconds[2 * SKIP :]  # two calls an update
        shares.append(sum(mine) / seconds)
        calls.append(sum(mine) / (steps - SKIP))
        return seconds

    on, off = in_pairs(with_statistics, lambda: run(recipe, more, data, steps, None), pairs)
    updates = steps - SKIP
    share = statistics.median(shares)
    return {
        "case": case,
        "milliseconds_per_line": round(1000 * statistics.median(calls), 2),
        "milliseconds_per_update": round(1000 * statistics.median(off) / updates, 1),
        "share_logging_every_update": round(share, 5),
        "share_logging_every_10th": round(share / 10, 6),
        "ratio_of_runs": round(statistics.median([a / b for a, b in zip(on, off, strict=True)]), 3),
        "ratios_of_runs": [round(a / b, 3) for a, b in zip(on, off, strict=True)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=13)
    parser.add_argument("--case", choices=list(CASES), action="append")
    options = parser.parse_args()
    cases = options.case or list(CASES)
    results = [measure(case, options.data, options.pairs, options.steps) for case in cases]
    print(json.dumps({"results": results, **facts()}, indent=1))


if __name__ == "__main__":
    main()
