"""Few labels: Banking77, 20 drawn classes with 8 rows each, `TextClassifier()` beside a logistic regression.

The line to beat is scikit-learn's LogisticRegression on the normalised vectors of the frozen encoder, of strength 1
and of a strength chosen by 3-fold cross-validation. Both are tested on all test rows of the drawn classes.

    python eval/bench/few_labels.py --data banking77 --json out.json
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
from common import facts
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

import textcl

CLASSES, ROWS = 20, 8
STRENGTHS = (0.3, 1, 3, 10, 30, 100, 300)


def read(path: Path) -> list[dict[str, str]]:
    """Rows of text and label."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def draw(folder: Path, seed: int) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Training rows, and test rows of the same classes."""
    generator = random.Random(seed)
    train, test = read(folder / "train.jsonl"), read(folder / "test.jsonl")
    classes = generator.sample(sorted({row["label"] for row in train}), CLASSES)
    rows = [
        row
        for name in classes
        for row in generator.sample([row for row in train if row["label"] == name], ROWS)
    ]
    return rows, [row for row in test if row["label"] in set(classes)]


def columns(rows: list[dict[str, str]]) -> tuple[list[str], list[str]]:
    """Texts and labels."""
    return [row["text"] for row in rows], [row["label"] for row in rows]


def frozen(
    encoder: textcl.Encoder, train: list[dict[str, str]], test: list[dict[str, str]]
) -> dict[str, float]:
    """Accuracy of logistic regressions on frozen vectors, and the seconds that the second takes."""
    (texts, labels), (others, truth) = columns(train), columns(test)
    start = time.perf_counter()
    x, z = (encoder.encode(part, normalize=True, precision="float32") for part in (texts, others))
    search = GridSearchCV(
        LogisticRegression(max_iter=1000), {"C": STRENGTHS}, cv=3, scoring="neg_log_loss"
    ).fit(x, labels)
    right = search.best_estimator_.predict(z) == np.array(truth)
    found = {"C chosen": 100 * float(right.mean())}
    found["seconds"] = time.perf_counter() - start
    plain = LogisticRegression(C=1, max_iter=1000).fit(x, labels)
    return found | {"C = 1": 100 * float(plain.score(z, truth))}


def fine_tuned(
    model: str,
    train: list[dict[str, str]],
    test: list[dict[str, str]],
    seed: int,
    **options: object,
) -> dict[str, float]:
    """Accuracy of `TextClassifier()`, and the seconds it takes to fit and predict."""
    (texts, labels), (others, truth) = columns(train), columns(test)
    start = time.perf_counter()
    classifier = textcl.TextClassifier(model, random_state=seed, **options).fit(texts, labels)
    score = float(np.mean(classifier.predict(others) == np.array(truth)))
    return {"accuracy": 100 * score, "seconds": time.perf_counter() - start}


def main() -> None:
    """Measure every draw and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument(
        "--data", type=Path, required=True, help="Banking77: train.jsonl and test.jsonl"
    )
    parser.add_argument("--objectives", nargs="+", default=["lcl", "supcon", "cross-entropy"])
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--json", type=Path, help="where the numbers go")
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoder = textcl.Encoder.from_pretrained(options.model)
    draws: list[dict[str, object]] = []
    for seed in options.draws:
        train, test = draw(options.data, seed)
        result: dict[str, object] = {"draw": seed, "test_rows": len(test)}
        result["frozen"] = frozen(encoder, train, test)
        for objective in options.objectives:
            result[objective] = fine_tuned(options.model, train, test, seed, objective=objective)
        draws.append(result)
        print(json.dumps(result), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"facts": facts(), "draws": draws}, indent=1) + "\n")


if __name__ == "__main__":
    main()
