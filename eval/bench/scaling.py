"""Time of an update over the number of processes: measured, beside the expectation of a small model of it.

An update of P processes with B rows is expected to take the update of one process with B/P rows, plus one sum of all
gradients over the processes (2 (P - 1)/P times their bytes pass every process), plus the rows that are gathered. The
first is measured with P processes that do not talk, so that what they share of the machine is in it; the second with
tensors of that size. Sums begin before the backward pass ends, so that a part of them may hide behind the arithmetic.

python eval/bench/scaling.py --output eval/results/… [--processes 2] [--batch 64] [--steps 20] [--model NAME]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
from common import facts
from torch.multiprocessing.spawn import spawn

from textcl import Encoder

MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def update_seconds(folder: Path, rows: int) -> float:
    """Mean seconds of an update of so many rows, the first quarter left out."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    speeds = [line for line in lines if line.get("rows_per_second")]
    last, early = speeds[-1], speeds[len(speeds) // 4]
    spent = [rows * line["step"] / line["rows_per_second"] for line in (early, last)]
    return (spent[1] - spent[0]) / (last["step"] - early["step"])


def train(folder: Path, launcher: list[str], rows: int, arguments: argparse.Namespace) -> list[str]:
    """The command of a run of unsup-simcse that logs every update."""
    settings = [
        f"steps={arguments.steps}",
        f"batch_size={rows}",
        "log_every=1",
        "save_every=0",
    ]
    return [
        *launcher, "-m", "textcl", "train", "--recipe", "unsup-simcse", "--model", arguments.model, "--data",
        str(arguments.data), "--output", str(folder), "--quiet",
        *(part for setting in settings for part in ("--set", setting)),
    ]  # fmt: skip


def sum_seconds(rank: int, processes: int, values: int, port: int, file: str) -> None:
    """Write the seconds of one sum of `values` float32 numbers over the processes."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=processes)
    block, times = torch.ones(values), []
    for _ in range(9):
        dist.barrier()
        start = time.perf_counter()
        dist.all_reduce(block)
        times.append(time.perf_counter() - start)
    if rank == 0:
        Path(file).write_text(str(statistics.median(times)))
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="a file of sentences")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    processes, share = arguments.processes, arguments.batch // arguments.processes
    encoder = Encoder.from_pretrained(arguments.model)
    values = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        apart = [folder / f"apart-{number}" for number in range(processes)]
        commands = [train(path, [sys.executable], share, arguments) for path in apart]
        running = [subprocess.Popen(command, env=environment) for command in commands]
        codes = [process.wait() for process in running]
        assert not any(codes)
        spawn(sum_seconds, (processes, values, 29531, str(folder / "sum")), processes)
        launcher = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc-per-node",
            str(processes),
        ]
        launcher += ["--master-port", "29532"]
        command = train(folder / "together", launcher, arguments.batch, arguments)
        subprocess.run(command, env=environment, check=True)
        alone = statistics.mean(update_seconds(path, share) for path in apart)
        summed = float((folder / "sum").read_text())
        together = update_seconds(folder / "together", arguments.batch)
    result = {
        "model": arguments.model,
        "processes": processes,
        "rows": arguments.batch,
        "megabytes_of_gradients": values * 4 / 1e6,
        "seconds_of_an_update_apart": alone,
        "seconds_of_a_sum": summed,
        "expected": alone + summed,
        "measured": together,
        "measured_over_expected": together / (alone + summed),
        "facts": facts(),
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
