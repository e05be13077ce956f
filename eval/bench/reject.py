"""None of these: how well each score of a trained classifier tells texts of its classes from others.

Scores are fitted on training rows, or on the dev rows alone. Thresholds come from the dev rows, keeping 95 % of them,
or from dev rows and dev texts of no class. Everything is then measured on test.

    python eval/bench/reject.py --model runs/clinc --data clinc150 --json clinc150.json
    python eval/bench/reject.py --hold-out banking77 --data banking77-58   # leaves out 19 of 77 classes

A folder of data holds train, dev and test.jsonl of the classes, and oos_dev and oos_test.jsonl of texts of none.
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import facts

from textcl.classifier.classifier import Classifier, vectors_of
from textcl.classifier.fit_rejection import _cross_fitted, _Rows
from textcl.classifier.rejection import KINDS
from textcl.data.splits import fold_of
from textcl.evaluation.out_of_scope import (
    auroc,
    balanced_threshold,
    fpr_at_recall,
    score_rejection,
    threshold_keeping,
)

HELD_OUT = 19
PARTS = ("train", "dev", "test", "oos_dev", "oos_test")


def read(path: Path) -> list[dict[str, str]]:
    """Rows of text and label."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def hold_out(source: Path, target: Path) -> None:
    """Leave drawn classes out, seed 0: their dev and test rows are the texts of no class."""
    rows = {part: read(source / f"{part}.jsonl") for part in ("train", "dev", "test")}
    names = sorted({row["label"] for row in rows["train"]})
    held = set(random.Random(0).sample(names, HELD_OUT))
    target.mkdir(parents=True, exist_ok=True)
    for part, all_rows in rows.items():
        for name, inside in ((part, False), (f"oos_{part}", True)):
            lines = [json.dumps(row) + "\n" for row in all_rows if (row["label"] in held) == inside]
            (target / f"{name}.jsonl").write_text("".join(lines))


def measure(model: Path, data: Path) -> dict[str, Any]:
    """All scores, compared with training rows and with dev rows, on dev and on test."""
    classifier = Classifier.from_pretrained(model)
    rows, ids, texts = {}, {}, {}
    for part in PARTS:
        read_rows = read(data / f"{part}.jsonl")
        texts[part] = [row["text"] for row in read_rows]
        vectors = vectors_of(classifier.encoder, texts[part], precision="float32")
        rows[part] = _Rows(vectors, classifier.logits_of(vectors))
        if "oos" not in part:
            ids[part] = classifier.targets([row["label"] for row in read_rows], part)
    right = rows["test"].logits.argmax(1) == ids["test"]
    folds = fold_of(texts["dev"], ids["dev"].tolist(), 5, seed=0)
    results: dict[str, Any] = {}
    for name, kind in KINDS.items():
        for known in ("train", "dev") if kind.compares else ("train",):
            fitted = kind.fit(rows[known].vectors, ids[known])
            scores = {part: fitted(rows[part].logits, rows[part].vectors) for part in PARTS[1:]}
            if known == "dev":
                scores["dev"] = _cross_fitted(kind, rows["dev"], ids["dev"], folds)
            inside, outside = scores["dev"], scores["oos_dev"]
            cuts = {
                "95 % of dev": threshold_keeping(inside, 0.95),
                "balanced": balanced_threshold(inside, outside),
            }
            results[f"{name}, {known} rows" if kind.compares else name] = {
                "dev": {
                    "auroc": auroc(inside, outside),
                    "fpr95": fpr_at_recall(inside, outside),
                },
                "test": {
                    way: asdict(score_rejection(scores["test"], right, scores["oos_test"], cut))
                    for way, cut in cuts.items()
                },
            }
    counts = {part: len(rows[part].logits) for part in PARTS}
    return {"rows": counts, "accuracy": float(np.mean(right)), "scores": results}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="run of a classifier")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--hold-out", type=Path, help="data set whose classes are left out")
    parser.add_argument("--json", type=Path, help="where the numbers go")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.hold_out:
        hold_out(options.hold_out, options.data)
        return
    result = measure(options.model, options.data)
    print(
        "score, dev AUROC, FPR@95, test AUROC, FPR@95, then recall, accuracy, accepted of both thresholds"
    )
    for name, each in result["scores"].items():
        first = each["test"]["95 % of dev"]
        numbers = [*each["dev"].values(), first["auroc"], first["fpr95"]]
        for part in each["test"].values():
            numbers += [part["oos_recall"], part["in_scope_accuracy"], part["accepted"]]
        print(f"| {name} | " + " | ".join(f"{100 * number:.1f}" for number in numbers) + " |")
    if options.json:
        options.json.write_text(json.dumps({"facts": facts(), **result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
