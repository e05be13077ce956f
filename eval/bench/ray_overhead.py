"""What Ray costs: the shards of one folder made by one actor of a local cluster, beside the same made in this process.

python eval/bench/ray_overhead.py LINES.txt --model FOLDER --json out.json

Timed from the end of the first shard to that of the last, so that no start is part of it; starts are shown apart. The
processor time is that of this process and of all that it started: of Ray also its daemons.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
from common import facts

from textcl.data.sources import open_source
from textcl.data.stream import stream_rows
from textcl.encoder.precision import usual_precision
from textcl.encoder.shard_workers import Block, Loader, ShardWriter, ThisProcess, Workers
from textcl.encoder.shards import encode_shards
from textcl.encoder.vector_folder import Shard, VectorJob
from textcl.export.load import load_encoder


def with_children() -> float:
    """Processor seconds of this process and of those that it started."""
    me, total = psutil.Process(), 0.0
    for process in (me, *me.children(recursive=True)):
        try:
            used = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += used.user + used.system
    return total


def turn(
    lines: Path, model: str, rows: int, workers: Workers, processor: Callable[[], float]
) -> dict[str, float]:
    """Seconds of the start, and of all shards behind the first."""
    source = open_source(str(lines))
    job = VectorJob("m" * 64, rows_per_shard=rows, precision=usual_precision())
    ends: list[tuple[float, float]] = [(time.perf_counter(), processor())]
    with tempfile.TemporaryDirectory() as place:
        encode_shards(
            partial(load_encoder, model),
            stream_rows(source),
            Path(place) / "vectors",
            job,
            source=source,
            workers=Marking(workers, ends, processor),
        )
    begun, first, last = ends[0], ends[1], ends[-1]
    return {
        "start and first shard, clock": round(first[0] - begun[0], 2),
        "clock": round(last[0] - first[0], 2),
        "processor": round(last[1] - first[1], 2),
    }


class Marking:
    """Workers that note when each shard is done."""

    def __init__(
        self,
        workers: Workers,
        ends: list[tuple[float, float]],
        processor: Callable[[], float],
    ) -> None:
        self.workers, self.ends, self.processor = workers, ends, processor

    def write(
        self,
        load: Loader,
        writer: ShardWriter,
        blocks: Iterator[Block],
        progress: Callable[[int], None],
    ) -> Iterator[Shard]:
        """As `Workers.write`."""
        for shard in self.workers.write(load, writer, blocks, progress):
            self.ends.append((time.perf_counter(), self.processor()))
            yield shard


def main() -> None:
    """Measure by turns and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--shard-rows", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    import ray

    from textcl.ray import RayWorkers

    started = time.perf_counter()
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    cluster = round(time.perf_counter() - started, 2)
    measure = partial(turn, options.lines, options.model, options.shard_rows)
    turns: list[dict[str, dict[str, float]]] = []
    for pair in range(options.pairs):
        kinds = ["here", "ray"][:: -1 if pair % 2 else 1]
        made: dict[str, tuple[Workers, Callable[[], float]]] = {
            "here": (ThisProcess(), time.process_time),  # an actor that ends would be taken off
            "ray": (RayWorkers("auto", 1), with_children),
        }
        turns.append({kind: measure(*made[kind]) for kind in kinds})
        print(json.dumps(turns[-1]), flush=True)
    ratios = {
        what: [round(t["ray"][what] / t["here"][what], 3) for t in turns]
        for what in ("processor", "clock")
    }
    result = {
        **{f"ray / here, {what}": values for what, values in ratios.items()},
        **{f"median, {what}": statistics.median(values) for what, values in ratios.items()},
        "start of a local cluster": cluster,
        "turns": turns,
        "ray": ray.__version__,
        **facts(),
    }
    print(json.dumps(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
