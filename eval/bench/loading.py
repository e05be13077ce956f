"""Rows a second of the loader, tokenising batch by batch and from tokens on disk.

Unsupervised SimCSE on a text file: one view, one thread that makes batches ahead. Both ways take turns over the same
batches and give the same tokens. Making the tokens the first time and finding them again are told in seconds.

python eval/bench/loading.py --data sentences.txt [--limit 1000000] [--batch 64 512] [--rounds 5] [--output DIR]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from common import facts

from textcl.data import cache as table
from textcl.data.rows import Rows, load_rows
from textcl.distributed import World
from textcl.encoder.encoder import Encoder
from textcl.training.loader import Collate, Loader
from textcl.training.samplers import ShuffledBatches
from textcl.training.token_table import TokenTable, cached_tokens
from textcl.views.view import View

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
ROWS = 20_000  # of a measurement


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="folder for loading.json")
    options = parser.parse_args()
    encoder = Encoder.from_pretrained(MODEL, max_length=options.length, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        table.datasets_config.HF_DATASETS_CACHE = Path(folder)
        rows = load_rows(str(options.data), roles=("text",), limit=options.limit)
        first, tokens = seconds_for(rows, encoder)
        again, _ = seconds_for(rows, encoder)
        size = sum(f.stat().st_size for f in Path(folder).rglob("*") if ".arrow" not in f.name)
        found = [both_ways(rows, encoder, tokens, batch, options.rounds) for batch in options.batch]
    result = {
        "benchmark": "batches of the loader, tokens on disk against tokenising each batch",
        "rows": len(rows),
        "seconds_to_make_tokens": round(first, 1),
        "seconds_to_find_them": round(again, 1),
        "mib_on_disk": round(size / 2**20, 1),
        "batches": found,
        **facts(),
    }
    print(json.dumps(result, indent=1))
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "loading.json").write_text(json.dumps(result, indent=1) + "\n")


def seconds_for(rows: Rows, encoder: Encoder) -> tuple[float, TokenTable]:
    start = time.perf_counter()
    tokens = cached_tokens(rows, "text", encoder.reader())
    assert tokens is not None
    return time.perf_counter() - start, tokens


def both_ways(
    rows: Rows, encoder: Encoder, tokens: TokenTable, batch: int, rounds: int
) -> dict[str, Any]:
    sampler = ShuffledBatches(len(rows), batch, seed=0)
    collate = Collate({"anchor": View("text")}, {"anchor": encoder.reader()}, seed=0)
    loaders = {
        "tokenised": Loader(rows, sampler, collate, World()),
        "from_disk": Loader(rows, sampler, replace(collate, tables={"text": tokens}), World()),
    }
    ones = [loader.batch(0, 0).tokens["anchor"].ids for loader in loaders.values()]
    assert torch.equal(*ones)
    speeds: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(rounds):
        for name, loader in loaders.items():
            start, seen = time.perf_counter(), 0
            for made in loader.batches(0):
                seen += len(made)
                if seen >= ROWS:
                    break
            speeds[name].append(seen / (time.perf_counter() - start))
    ratios = [b / a for a, b in zip(*speeds.values(), strict=True)]
    return {
        "batch": batch,
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
        **{f"{name}_rows_per_s": round(statistics.median(s)) for name, s in speeds.items()},
    }


if __name__ == "__main__":
    main()
