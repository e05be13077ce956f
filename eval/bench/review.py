"""Wrong labels: a tenth of the labels flipped, and how many of the first hundred suspects are flipped rows.

Each label is flipped to another class drawn uniformly. Vectors are those of the frozen encoder; probabilities are
cross-validated. Compared: confident learning in three orders of cleanlab's, the loss of the given label, and chance.
Merging: the gain that is estimated for a pair of classes, beside the gain of a cross-validation with both as one.

    python eval/bench/review.py --data banking77/train.jsonl isear/train.jsonl --json results.json
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from common import facts

import textcl
from textcl.classifier.classifier import vectors_of
from textcl.review.alike import classes_alike
from textcl.review.suspects import cross_validated, find_suspects

SHARE, FIRST = 0.1, 100
METHODS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")


def flip(labels: np.ndarray, seed: int) -> np.ndarray:
    """A tenth of the labels as another class each."""
    draw = np.random.default_rng(seed)
    flipped = labels.copy()
    chosen = draw.choice(len(labels), round(SHARE * len(labels)), replace=False)
    flipped[chosen] = (labels[chosen] + draw.integers(1, labels.max() + 1, len(chosen))) % (
        labels.max() + 1
    )
    return flipped


def orders(given: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Rows by suspicion, in each way."""
    suspected = find_label_issues(given, probabilities, n_jobs=1)
    found: dict[str, np.ndarray] = {}
    for method in METHODS:
        quality = get_label_quality_scores(given, probabilities, method=method)
        found[f"confident learning, {method}"] = np.lexsort((quality, ~suspected))
    found["loss"] = np.argsort(probabilities[np.arange(len(given)), given], kind="stable")
    found["chance"] = np.random.default_rng(0).permutation(len(given))
    return found


def one_seed(
    vectors: np.ndarray, texts: list[str], labels: np.ndarray, seed: int
) -> dict[str, Any]:
    """Precision and recall of the first hundred, and of all that confident learning suspects."""
    given = flip(labels, seed)
    wrong = given != labels
    start = time.perf_counter()
    probabilities = cross_validated(vectors, texts, given, seed)
    seconds = time.perf_counter() - start
    suspected = find_suspects(given, probabilities).suspected
    result: dict[str, Any] = {
        "seed": seed,
        "flipped": int(wrong.sum()),
        "seconds": seconds,
        "suspected": int(suspected.sum()),
        "suspected_precision": float(wrong[suspected].mean()),
        "suspected_recall": float(suspected[wrong].mean()),
    }
    for name, order in orders(given, probabilities).items():
        hits = int(wrong[order[:FIRST]].sum())
        result[name] = {"precision": hits / FIRST, "recall": hits / int(wrong.sum())}
    return result


def merging(
    vectors: np.ndarray, texts: list[str], labels: np.ndarray, names: list[str]
) -> dict[str, Any]:
    """Estimated gains beside those of a cross-validation with the two classes as one."""
    probabilities = cross_validated(vectors, texts, labels, 0)
    before = float((probabilities.argmax(1) == labels).mean())
    pairs = []
    for pair in classes_alike(labels, probabilities, names)[:3]:
        a, b = sorted((names.index(pair.first), names.index(pair.second)))
        merged = np.where(labels == b, a, labels)
        merged = np.unique(merged, return_inverse=True)[1]
        after = float((cross_validated(vectors, texts, merged, 0).argmax(1) == merged).mean())
        pairs.append({**vars(pair), "measured_gain": after - before})
    return {"accuracy": before, "pairs": pairs}


def main() -> None:
    """Measure every data set and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="files of labelled rows"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="where the numbers go")
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoder = textcl.Encoder.from_pretrained(options.model)
    results: dict[str, Any] = {}
    for path in options.data:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        texts = [row["text"] for row in rows]
        names, labels = np.unique([row["label"] for row in rows], return_inverse=True)
        vectors = vectors_of(encoder, texts, precision="float32")
        found: dict[str, Any] = {"rows": len(rows), "classes": len(names), "seeds": []}
        for seed in options.seeds:
            found["seeds"].append(one_seed(vectors, texts, labels, seed))
            print(path.parent.name, json.dumps(found["seeds"][-1]), flush=True)
        found["merging"] = merging(vectors, texts, labels, names.tolist())
        print(path.parent.name, json.dumps(found["merging"]), flush=True)
        results[path.parent.name] = found
        if options.json:
            options.json.write_text(json.dumps({"facts": facts(), **results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
