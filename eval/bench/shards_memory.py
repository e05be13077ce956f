"""Resident memory of `textcl encode` into a folder of shards, as the command itself runs (Linux).

python eval/bench/shards_memory.py LINES.txt --json out.json

Without --model, a random one is made: one layer of width 128 behind the tokenizer of all-MiniLM-L6-v2.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from common import facts

SHARD_ROWS = 100_000
Samples = list[tuple[int, int]]


def random_model(folder: Path) -> str:
    """A narrow random model with a real tokenizer."""
    import torch
    from transformers import BertConfig, BertModel

    from textcl.encoder.encoder import Encoder

    torch.manual_seed(0)
    tokenizer = Encoder("sentence-transformers/all-MiniLM-L6-v2").tokenizer
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=128, num_hidden_layers=1, num_attention_heads=4, intermediate_size=256
    )  # fmt: skip
    Encoder(BertModel(config), tokenizer, max_length=256).save_pretrained(folder / "model")
    return str(folder / "model")


def resident(pid: int) -> int:
    """MiB of a process that are in memory; 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(lines[0].split()[1]) >> 10 if lines else 0


def watch(
    command: list[str], folder: Path, seconds: float, report: Callable[[Samples], None]
) -> None:
    """Look at finished shards and resident MiB again and again, and report whenever another shard is done."""
    samples: Samples = []
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            if mib := resident(process.pid):
                samples.append((len(list(folder.glob("*.npy"))), mib))
                if samples[-1][0] != samples[max(0, len(samples) - 2)][0]:
                    report(samples)
            time.sleep(seconds)
    report(samples)


def summary(samples: Samples) -> dict[str, object]:
    """Memory by the rows that were done before, and what it ranged over behind the first shard."""
    by_shard: dict[int, list[int]] = {}
    for shards, mib in samples:
        by_shard.setdefault(shards, []).append(mib)
    later = [mib for shards, mib in samples if shards] or [0]
    return {
        "median MiB by rows before": {
            shards * SHARD_ROWS: round(statistics.median(mibs)) for shards, mibs in by_shard.items()
        },
        "lowest, median and highest MiB behind the first shard": [
            min(later), round(statistics.median(later)), max(later)
        ],
        "samples": len(samples),
        **facts(),
    }  # fmt: skip


def main() -> None:
    """Encode, watch, and write what is known so far after every shard."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lines")
    parser.add_argument("--model")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two looks")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()

    def report(samples: Samples) -> None:
        options.json.write_text(json.dumps(summary(samples), indent=1) + "\n")

    with tempfile.TemporaryDirectory() as place:
        model = options.model or random_model(Path(place))
        folder = Path(place) / "vectors"
        command = [
            sys.executable,
            "-m",
            "textcl",
            "encode",
            model,
            options.lines,
            "-o",
            f"{folder}/",
        ]
        command += ["--shard-rows", str(SHARD_ROWS), "-q"]
        watch(command, folder, options.every, report)


if __name__ == "__main__":
    main()
