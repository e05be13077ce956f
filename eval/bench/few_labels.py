"""Few labels: some rows of each class, `TextClassifier()` and recipes beside a logistic regression on frozen vectors.

The line to beat is scikit-learn's LogisticRegression on the normalised vectors of the frozen encoder, of strength 1
and of a strength chosen by 3-fold cross-validation. All are tested on the test rows of the drawn classes.

Draws come in their order, each on all data sets, and every result is written at once: what there is of a run that was
stopped is balanced.

    python eval/bench/few_labels.py --data intent/banking77 emotion/isear --classes 20 --json out.json
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV

Rows = list[dict[str, str]]
STRENGTHS = (0.3, 1, 3, 10, 30, 100, 300)


def read(path: Path) -> Rows:
    """Rows of text and label."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def names_of(data: Rows, rows: int) -> list[str]:
    """Classes that have so many rows."""
    counts = Counter(row["label"] for row in data)
    return sorted(name for name, count in counts.items() if count >= rows)


def draw(folder: Path, seed: int, classes: int, rows: int) -> tuple[Rows, Rows]:
    """Training rows of drawn classes (0 for all), and test rows of the same classes."""
    generator = random.Random(seed)
    train, test = read(folder / "train.jsonl"), read(folder / "test.jsonl")
    names = names_of(train, rows)
    chosen = generator.sample(names, classes) if 0 < classes < len(names) else names
    drawn = [
        row
        for name in chosen
        for row in generator.sample([row for row in train if row["label"] == name], rows)
    ]
    return drawn, [row for row in test if row["label"] in set(chosen)]


def columns(rows: Rows) -> tuple[list[str], list[str]]:
    """Texts and labels."""
    return [row["text"] for row in rows], [row["label"] for row in rows]


def scores(predicted: ArrayLike, truth: list[str]) -> dict[str, float]:
    """Accuracy and macro-F1 × 100."""
    right = np.asarray(predicted) == np.array(truth)
    macro = f1_score(truth, np.asarray(predicted), average="macro")
    return {"accuracy": 100 * float(right.mean()), "macro_f1": 100 * float(macro)}


def timed(fit: Callable[[], Callable[[list[str]], ArrayLike]], test: Rows) -> dict[str, float]:
    """Scores of what is fitted, and the seconds of fitting it, by the clock and of the processor."""
    started, processor = time.perf_counter(), time.process_time()
    predict = fit()
    seconds = {
        "seconds": time.perf_counter() - started,
        "processor_seconds": time.process_time() - processor,
    }
    texts, truth = columns(test)
    return scores(predict(texts), truth) | seconds


def measure(folder: Path, seed: int, options: argparse.Namespace) -> dict[str, object]:
    """One draw of one data set."""
    import textcl

    train, test = draw(folder, seed, options.classes, options.rows)
    if len(test) > options.test_rows:
        test = random.Random(seed).sample(test, options.test_rows)
    texts, labels = columns(train)

    def frozen():
        encoder = textcl.Encoder.from_pretrained(options.model)

        def vectors(of: list[str]):
            return encoder.encode(of, normalize=True, precision="float32")

        search = GridSearchCV(
            LogisticRegression(max_iter=1000), {"C": STRENGTHS}, cv=3, scoring="neg_log_loss"
        ).fit(vectors(texts), labels)
        return lambda new: search.predict(vectors(new))

    def recipe(name: str):
        with tempfile.TemporaryDirectory() as run_folder:
            run = textcl.train(
                name, model=options.model, data=train, dev="", output=Path(run_folder) / "run",
                settings={"seed": seed, "save_every": 0},
            )  # fmt: skip
        assert run is not None
        return run.classifier.predict

    def default():
        return textcl.TextClassifier(options.model, random_state=seed).fit(texts, labels).predict

    result: dict[str, object] = {"data": folder.name, "draw": seed, "rows": len(train)}
    result |= {"test_rows": len(test), "frozen": timed(frozen, test)}
    for name in options.recipes:
        result[name] = timed(lambda name=name: recipe(name), test)
    return result | {"TextClassifier()": timed(default, test)}


def main() -> None:
    """Measure every draw and print JSON."""
    import torch
    from common import facts

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="folders of train.jsonl and test.jsonl"
    )
    parser.add_argument("--classes", type=int, default=0, help="most that are drawn; 0 for all")
    parser.add_argument("--rows", type=int, default=8, help="of each class")
    parser.add_argument("--recipes", nargs="*", default=[], help="beside TextClassifier()")
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--test-rows", type=int, default=1000, help="most rows that are tested")
    parser.add_argument("--json", type=Path, help="where the numbers go")
    options = parser.parse_args()
    torch.set_num_threads(1)
    draws: list[dict[str, object]] = []
    for seed in options.draws:
        for folder in options.data:
            draws.append(measure(folder, seed, options))
            print(json.dumps(draws[-1]), flush=True)
            if options.json:
                report = {"rows": options.rows, "facts": facts(), "draws": draws}
                options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
