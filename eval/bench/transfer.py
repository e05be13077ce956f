"""Transfer tasks of SentEval before and after recipes: the stand-in encoder, small budgets, SentEval's own protocol.

The stand-in is the first three layers of all-MiniLM-L6-v2 with mean pooling. Every recipe has the budget of
pairs.py, and its last weights are scored in float32. Scores that the file of --json has already are not computed again.

    python eval/bench/transfer.py --data FOLDER --json out.json --only unsup-simcse sup-simcse --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from common import facts
from pairs import BUDGET, MODEL, Qnli, read, train

import textcl
from textcl.evaluation.benchmarks import EncodeWith
from textcl.suites import load_tasks, run_suite

BEFORE = ("all-MiniLM-L6-v2", "3 layers")
TASKS = ("CR", "TREC", "MPQA", "MRPC", "SST2", "SUBJ", "MR")


def recipes(folder: Path) -> dict[str, tuple[str, list[dict[str, Any]], dict[str, int]]]:
    """Recipe, rows and settings of each line of the table."""
    short = {"batch_size": 128, "max_length": 50}
    lines = (folder / "corpus" / "mirror_stsb_10k.txt").read_text(encoding="utf-8").splitlines()
    texts: list[dict[str, Any]] = [{"text": line} for line in lines if line.strip()]
    nli = read(folder / "nli" / "triplets_train.jsonl")[:10_000]
    qnli = Qnli(folder).train
    return {
        "unsup-simcse": ("unsup-simcse", texts, short),
        "sup-simcse": ("sup-simcse", nli, short),
        "pairs on QNLI": ("pairs", qnli, {"batch_size": 64, "max_length": 64}),
        "mirror-bert": ("mirror-bert", texts, short),
    }


def main() -> None:
    """Score what is asked for, task by task, and write after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    os.environ["TEXTCL_DATA"] = str(options.data)
    torch.set_num_threads(1)
    kept = json.loads(options.json.read_text())["results"] if options.json.exists() else []
    trained = recipes(options.data)
    encoders: dict[tuple[str, int | None], textcl.Encoder] = {}
    for what in options.only or [*BEFORE, *trained]:
        if what in BEFORE:
            layers, pooling = (None, None) if what == BEFORE[0] else (3, "mean")
            encoders[what, None] = textcl.Encoder.from_pretrained(
                options.model, num_layers=layers, pooling=pooling
            )
            continue
        recipe, rows, settings = trained[what]
        for seed in options.seeds:
            encoders[what, seed] = train(recipe, options.model, rows, seed, **settings)
            print(f"trained {what}, seed {seed}", flush=True)
    for task in load_tasks(options.tasks):
        for (what, seed), encoder in encoders.items():
            key = {"what": what, "seed": seed, "task": task.name}
            if any(key.items() <= line.items() for line in kept):
                continue
            began = time.process_time()
            result = run_suite(EncodeWith(encoder, precision="float32"), [task])
            line = key | dict(result.tasks[task.name].measures)
            kept.append(line | {"processor_seconds": round(time.process_time() - began, 1)})
            print(json.dumps(kept[-1]), flush=True)
            about = {"facts": facts(), "budget": BUDGET, "results": kept}
            options.json.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
