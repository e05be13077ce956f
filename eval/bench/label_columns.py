"""Two label columns: one encoder with a head for each, beside a classifier of its own for each column.

Of EmpatheticDialogues the columns are the emotion (32) and its valence (3), a grouping that is written here, so that
the second follows from the first. Of EmoInt they are the emotion (4) and the intensity that raters gave, cut into
thirds, which says something else: Cramér's V of the two is printed. All runs have the same rows, seed and settings;
processor time is that of training and of predicting the test rows.

    python eval/bench/label_columns.py --data emotion/empathetic --seeds 0 --json out.json
    python eval/bench/label_columns.py --data emotion/emoint --seeds 0 1 2 --json out.json
"""

from __future__ import annotations

import argparse
import io
import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
THIRDS = (0.396, 0.577)  # of the intensities of all 3,613 training rows of EmoInt


@dataclass(frozen=True)
class Columns:
    """Two label columns of a data set.

    Args:
        second: Name of the column beside the emotion.
        label: Its label, from a row of the file.
        rows: Rows of each emotion, by split.
    """

    second: str
    label: Callable[[dict[str, Any]], str]
    rows: dict[str, int]


def valence(row: dict[str, Any]) -> str:
    """The valence of an emotion."""
    emotion = row["label"]
    return "pleasant" if emotion in PLEASANT else "mixed" if emotion in MIXED else "unpleasant"


def intensity(row: dict[str, Any]) -> str:
    """The third of the intensities that a row is in."""
    return ("low", "middle", "high")[sum(row["intensity"] > bound for bound in THIRDS)]


DATA = {
    "empathetic": Columns("valence", valence, {"train": 15, "dev": 5, "test": 20}),
    "emoint": Columns("intensity", intensity, {"train": 50, "dev": 50, "test": 250}),
}


def draw(folder: Path, split: str, seed: int) -> Rows:
    """Rows of every emotion, as many of each as `Columns` says."""
    kind = DATA[folder.name]
    rows = read(folder / f"{split}.jsonl")
    random.Random(seed).shuffle(rows)
    by_emotion: dict[str, Rows] = {}
    for row in rows:
        by_emotion.setdefault(row["label"], []).append(row)
    return [
        {"text": row["text"], "emotion": name, kind.second: kind.label(row)}
        for name, own in by_emotion.items()
        for row in own[: kind.rows[split]]
    ]


def association(rows: Rows, columns: Sequence[str]) -> float:
    """Cramér's V of two columns: 0 where neither says anything about the other, 1 where one follows from the other."""
    one, other = (
        np.unique([row[name] for row in rows], return_inverse=True)[1] for name in columns
    )
    counts = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(counts, (one, other), 1)
    expected = counts.sum(1, keepdims=True) * counts.sum(0) / counts.sum()
    chi = ((counts - expected) ** 2 / expected).sum()
    return float(np.sqrt(chi / counts.sum() / (min(counts.shape) - 1)))


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
    both = "emotion", DATA[Path(given.data).name].second
    for seed in given.seeds:
        parts = {split: draw(Path(given.data), split, seed) for split in ("train", "dev", "test")}
        related = association(parts["test"], both)
        print(f"Cramér's V on test: {related:.3f}", flush=True)
        for column in (",".join(both), *both):
            runs.append(measure(column, parts, seed, given.model))
            print(json.dumps(runs[-1]), flush=True)
            rows = {name: len(rows) for name, rows in parts.items()}
            content = {"rows": rows, "cramers_v": related, "runs": runs}
            given.json.write_text(json.dumps({**content, "facts": facts()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
