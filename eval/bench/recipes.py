"""Every recipe on one small encoder with one budget, measured the same way: the table of eval/results.

The first three layers of all-MiniLM-L6-v2 (not tuned for sentences) are trained by each recipe for the same number of
updates, and the best weights on STS-B dev are scored on the seven STS tasks. Runs that are in the results already are
not repeated, so the command can be stopped and started again.

TEXTCL_DATA=… python eval/bench/recipes.py --output eval/results/… unsup-simcse:0,1,2 mirror-bert:0

With --data, --column or --set one recipe is trained on something else, and its rows get the name of --label.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from common import facts
from rich.console import Console

from textcl import Encoder
from textcl.evaluation.benchmarks import EncodeWith, Scores, evaluate
from textcl.evaluation.geometry import alignment, uniformity
from textcl.evaluation.tasks import load_task
from textcl.training import recipes as recipe
from textcl.training.session import train

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
LAYERS = 3
COMMON: Mapping[str, object] = {
    "num_layers": LAYERS,
    "steps": 40,
    "batch_size": 128,
    "max_length": 50,
    "evaluate_every": 10,
    "save_every": 0,
}
WORDS = ("mirror-word",)  # trained on words, and the one that word similarity is about
DATA: Mapping[tuple[str, ...], str] = {
    ("text",): "corpus/mirror_stsb_10k.txt",
    ("anchor", "positive", "negative"): "nli/triplets_train.jsonl",
    ("sentence1", "sentence2", "score"): "sts/stsb_train.jsonl",
}


def measure(encoder: Encoder) -> dict[str, object]:
    """STS-B dev, the seven tasks and word similarity in float32; alignment and uniformity of STS-B as encoded fast."""
    exact = EncodeWith(encoder, precision="float32")
    scores: Scores = evaluate(exact, "sts")
    dev = evaluate(exact, "STSBenchmark-dev")
    splits = [
        load_task(name) for name in ("STSBenchmark-train", "STSBenchmark-dev", "STSBenchmark")
    ]
    first = [text for task in splits for text in task.sentences1]
    second = [text for task in splits for text in task.sentences2]
    gold = torch.tensor([score for task in splits for score in task.scores])
    vectors = torch.from_numpy(encoder.encode([*first, *second])).split(len(first))
    close = gold > 4
    words = evaluate(exact, "words")
    return {
        "dev": dev["STSBenchmark-dev"],
        "words": {name: words[name] for name in words.tasks},
        **{name: scores[name] for name in scores.tasks},
        "average": scores.average,
        "alignment": float(alignment(vectors[0][close], vectors[1][close])),
        "uniformity": float(uniformity(torch.cat(vectors))),
    }


@dataclass(frozen=True)
class Other:
    """Other data and settings of a variant of a recipe."""

    label: str = ""
    data: str = ""
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    settings: Mapping[str, str] = field(default_factory=dict[str, str])


def run(name: str, seed: int, other: Other) -> dict[str, object]:
    """Train one recipe with one seed and measure it."""
    found = recipe.find(name)
    usual = "words/top10k_en.txt" if name in WORDS else DATA[found.roles]
    data = Path(os.environ["TEXTCL_DATA"]) / (other.data or usual)
    known = vars(found.settings(MODEL))
    common = {key: value for key, value in COMMON.items() if key in known}
    changes = {**common, "seed": seed, **other.settings}
    with tempfile.TemporaryDirectory() as folder:
        start, busy = time.perf_counter(), time.process_time()
        done = train(
            name, model=MODEL, data=str(data), output=f"{folder}/run", settings=changes,
            columns=other.columns or None, console=Console(file=io.StringIO()),
        )  # fmt: skip
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        assert done is not None
        position, facts_of_run = done.position, done.folder.facts
    rows = position.step * facts_of_run.settings["batch_size"]
    return {
        "recipe": other.label or name,
        "seed": seed,
        "before": position.before,
        "best_step": position.best_step,
        "rows_per_second": round(rows / position.seconds, 1),
        "seconds": round(seconds, 1),
        "processor_seconds": round(busy, 1),
        "settings": {**facts_of_run.settings, "data": data.name},
        "data_sha256": facts_of_run.data.sha256,
        **measure(done.encoder),
    }


def word_table(results: list[dict[str, Any]]) -> str:
    """Word similarity before training and after the recipes that train on words."""
    shown = [r for r in results if r["seed"] is None or r["recipe"] in WORDS]
    names = list(shown[0]["words"])
    lines = ["| recipe | seed | " + " | ".join(names) + " |", "|---|---|" + "---:|" * len(names)]
    for r in shown:
        cells = " | ".join(f"{r['words'][name]:.2f}" for name in names)
        lines.append(f"| {r['recipe']} | {'–' if r['seed'] is None else r['seed']} | {cells} |")
    return "\n".join(lines)


COLUMNS = ("dev", "STS12", "STS13", "STS14", "STS15", "STS16", "STSBenchmark", "SICK-R", "average")


def table(results: list[dict[str, Any]]) -> str:
    """One line a recipe: mean over seeds, and the spread of the average where there are several."""
    lines = [
        "| recipe | seeds | " + " | ".join(COLUMNS) + " | alignment | uniformity |",
        "|---|---|" + "---:|" * (len(COLUMNS) + 2),
    ]
    for name in dict.fromkeys(result["recipe"] for result in results):
        mine = [result for result in results if result["recipe"] == name]
        cells = []
        for column in COLUMNS:
            values = [result[column] for result in mine]
            spread = (
                f" ± {statistics.stdev(values):.2f}"
                if len(values) > 1 and column in ("dev", "average")
                else ""
            )
            cells.append(f"{statistics.mean(values):.2f}{spread}")
        for column in ("alignment", "uniformity"):
            cells.append(f"{statistics.mean([result[column] for result in mine]):.3f}")
        seeds = ", ".join("–" if result["seed"] is None else str(result["seed"]) for result in mine)
        lines.append(f"| {name} | {seeds} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="+", help="recipe:seed,seed,…")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data", default="", help="file under TEXTCL_DATA to train on instead")
    parser.add_argument("--column", action="append", default=[], help="role=column of the file")
    parser.add_argument("--set", action="append", default=[], help="setting=value")
    parser.add_argument("--label", default="", help="name of the rows of this variant")
    options = parser.parse_args()
    columns, settings = (
        dict(part.split("=", 1) for part in parts) for parts in (options.column, options.set)
    )
    if (options.data or columns or settings) and not options.label:
        parser.error("a variant needs a --label")
    other = Other(options.label, options.data, columns, settings)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "results.json"
    kept = json.loads(path.read_text())["results"] if path.exists() else []
    wanted = [(name, int(seed)) for part in options.recipes for name, _, seeds in [part.partition(":")]
              for seed in (seeds or "0").split(",")]  # fmt: skip
    if not any(result["recipe"] == "before training" for result in kept):
        encoder = Encoder.from_pretrained(MODEL, num_layers=LAYERS, pooling="mean")
        kept.append(
            {"recipe": "before training", "seed": None, "rows_per_second": None, **measure(encoder)}
        )
    for name, seed in wanted:
        label = other.label or name
        if any(result["recipe"] == label and result["seed"] == seed for result in kept):
            continue
        kept.append(run(name, seed, other))
        print(
            label, seed, f"dev {kept[-1]['dev']:.2f} average {kept[-1]['average']:.2f}", flush=True
        )
        path.write_text(json.dumps({"facts": facts(), "results": kept}, indent=1) + "\n")
        (options.output / "table.md").write_text(f"{table(kept)}\n\n{word_table(kept)}\n")
    path.write_text(json.dumps({"facts": facts(), "results": kept}, indent=1) + "\n")
    (options.output / "table.md").write_text(f"{table(kept)}\n\n{word_table(kept)}\n")
    print(table(kept))


if __name__ == "__main__":
    main()
