"""Tokens a second of `pairs` beside `unsup-simcse`: what a second text costs beside the same text read twice.

Both train the first three layers of all-MiniLM-L6-v2 on texts of the same NLI pairs: `pairs` on anchor and positive,
`unsup-simcse` on the anchor of every other pair and the positive of the rest, each read twice. A run of 4 updates is
taken from one of 20, so that loading counts for neither. Processor time, in turns.

TEXTCL_DATA=… python eval/bench/pair_speed.py --pairs 5 --json out.json
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from common import facts, in_pairs
from rich.console import Console

import textcl

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
SHORT, LONG = 4, 20


def seconds_a_token(recipe: str, model: str, rows: list[dict[str, str]], batch: int) -> float:
    """Processor seconds of the updates after the first `SHORT`, by the tokens of their rows."""
    encoder = textcl.Encoder.from_pretrained(model)
    seconds, tokens = [], []
    for steps in (SHORT, LONG):
        part = rows[: steps * batch]
        start = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            textcl.train(
                recipe, model=model, data=part, dev="", output=Path(folder) / "run",
                settings={"batch_size": batch, "steps": steps, "num_layers": 3, "max_length": 64, "pooling": "mean"},
                console=Console(file=io.StringIO()),
            )  # fmt: skip
        seconds.append(time.process_time() - start)
        texts = [text for row in part for text in row.values()]
        read = encoder.tokenizer(texts, truncation=True, max_length=64)["input_ids"]
        tokens.append(sum(map(len, read)) * (1 if "positive" in part[0] else 2))
    return (seconds[1] - seconds[0]) / (tokens[1] - tokens[0])


def main() -> None:
    """Measure in turns, and print the ratio of each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = Path(os.environ["TEXTCL_DATA"]) / "nli" / "triplets_train.jsonl"
    with path.open(encoding="utf-8") as file:
        found = [
            json.loads(line) for line, _ in zip(file, range(LONG * options.batch), strict=False)
        ]
    pairs = [{"anchor": row["anchor"], "positive": row["positive"]} for row in found]
    texts = [{"text": row["anchor" if i % 2 else "positive"]} for i, row in enumerate(found)]
    ours, theirs = in_pairs(
        lambda: seconds_a_token("pairs", options.model, pairs, options.batch),
        lambda: seconds_a_token("unsup-simcse", options.model, texts, options.batch),
        options.pairs,
    )
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    result = {
        "pairs, tokens/s": [round(1 / a) for a in ours],
        "unsup-simcse, tokens/s": [round(1 / b) for b in theirs],
        "ratios": [round(ratio, 3) for ratio in ratios],
        "median": round(statistics.median(ratios), 3),
        "batch": options.batch,
        **facts(),
    }
    print(json.dumps(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
