"""Two label columns: one encoder with a head for each, beside a classifier of its own for each column.

The columns are the emotion of EmpatheticDialogues (32) and its valence (3), a grouping that is written here. All runs
have the same rows, seed and settings; processor time is that of training and of predicting the test rows.

    python eval/bench/label_columns.py --data emotion/empathetic --seeds 0 --json out.json
"""

from __future__ import annotations

import argparse
import io
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import facts
from few_labels import Rows, read
from rich.console import Console

import textcl
from textcl.classifier.columns import load_classifier

PLEASANT = {
    *("anticipating", "caring", "confident", "content", "excited", "faithful", "grateful"),
    *("hopeful", "impressed", "joyful", "prepared", "proud", "trusting"),
}
MIXED = {"nostalgic", "sentimental", "surprised"}
ROWS = {"train": 15, "dev": 5, "test": 20}


def valence(emotion: str) -> str:
    """The valence of an emotion."""
    return "pleasant" if emotion in PLEASANT else "mixed" if emotion in MIXED else "unpleasant"


def draw(folder: Path, split: str, seed: int) -> Rows:
    """Rows of every emotion, as many of each as `ROWS` says."""
    rows = read(folder / f"{split}.jsonl")
    random.Random(seed).shuffle(rows)
    by_emotion: dict[str, Rows] = {}
    for row in rows:
        by_emotion.setdefault(row["label"], []).append(row)
    return [
        {"text": row["text"], "emotion": name, "valence": valence(name)}
        for name, own in by_emotion.items()
        for row in own[: ROWS[split]]
    ]


def measure(column: str, parts: dict[str, Rows], seed: int, model: str) -> dict[str, Any]:
    """A run on one column, or on several with commas between: scores on test, the lines to beat, and processor time."""
    test, printed = parts["test"], io.StringIO()
    with tempfile.TemporaryDirectory() as place:
        dev = Path(place) / "dev.jsonl"
        dev.write_text("".join(json.dumps(row) + "\n" for row in parts["dev"]))
        started = time.process_time()
        textcl.train(
            "cross-entropy", model=model, data=parts["train"], dev=str(dev), columns={"label": column},
            output=f"{place}/run", settings={"seed": seed, "epochs": 3}, console=Console(file=printed, width=250),
        )  # fmt: skip
        trained = time.process_time()
        predicted = load_classifier(f"{place}/run").predict([row["text"] for row in test])
        done = time.process_time()
    answers = predicted if isinstance(predicted, dict) else {column: predicted}
    right = {
        name: 100 * float(np.mean([a == row[name] for a, row in zip(labels, test, strict=True)]))
        for name, labels in answers.items()
    }
    line = next(x for x in printed.getvalue().splitlines() if x.startswith("to beat"))
    return {
        "column": column, "seed": seed, "accuracy": right, "to_beat": line,
        "train_seconds": trained - started, "predict_seconds": done - trained,
    }  # fmt: skip


def main() -> None:
    """Measure, print a line for each run, and write the json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--json", type=Path, required=True)
    given = parser.parse_args()
    runs: list[dict[str, Any]] = []
    for seed in given.seeds:
        parts = {split: draw(Path(given.data), split, seed) for split in ROWS}
        for column in ("emotion,valence", "emotion", "valence"):
            runs.append(measure(column, parts, seed, given.model))
            print(json.dumps(runs[-1]), flush=True)
            content = {"rows": {name: len(rows) for name, rows in parts.items()}, "runs": runs}
            given.json.write_text(json.dumps({**content, "facts": facts()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
