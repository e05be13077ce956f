"""Few labels: what `few-shot` chooses, beside everything that it had to choose from.

Every draw is trained as always. The frozen encoder, the trained one and the mean of their weights are then each tested
with their logistic regression, beside the scores by which the run chose one of them: any rule of choosing can be read
from the numbers. "--unseen" tests on training rows that were not drawn, for choices; without it, on the test rows.

    python eval/bench/few_labels_choice.py --data intent/banking77 emotion/isear --classes 20 --json out.json
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
from few_labels import Rows, columns, draw, read, scores
from rich.console import Console

import textcl
from textcl.classifier import supervision
from textcl.classifier.classifier import vectors_of
from textcl.classifier.comparison import FROZEN, HALF, TRAINED, KeepShare, blend, learnt_weights
from textcl.classifier.fitted_head import fit_regression

SEEN: dict[str, Any] = {}
"""Decision of a run: its comparison, settings and hook."""


def draw_unseen(folder: Path, seed: int, classes: int, rows: int) -> tuple[Rows, Rows]:
    """Training rows of drawn classes, and the training rows of these classes that were not drawn."""
    generator = random.Random(seed)
    train = read(folder / "train.jsonl")
    names = sorted({row["label"] for row in train})
    chosen = generator.sample(names, classes) if 0 < classes < len(names) else names
    drawn, left = list[dict[str, str]](), list[dict[str, str]]()
    for name in chosen:
        own = [row for row in train if row["label"] == name]
        generator.shuffle(own)
        drawn, left = drawn + own[:rows], left + own[rows:]
    return drawn, left


class KeepTrained(KeepShare):
    """Leaves the trained weights where they are, and itself where the script finds it."""

    def before_saving(self) -> None:
        SEEN["start"] = self.start


def note_comparison() -> None:
    """Let runs leave their comparison in `SEEN`."""
    compare = supervision.compare_by_folds

    def noted(settings: Any, *rest: Any) -> Any:
        SEEN["settings"], SEEN["comparison"] = settings, compare(settings, *rest)
        return SEEN["comparison"]

    supervision.compare_by_folds = noted
    supervision.KeepShare = KeepTrained


def measure(train: Rows, test: Rows, seed: int, model: str) -> dict[str, Any]:
    """One draw: scores of the rows left out in turn, and of the test rows, by what is kept of the training."""
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        run = textcl.train(
            "few-shot", model=model, data=train, dev="", output=Path(folder) / "run",
            settings={"seed": seed, "save_every": 0}, console=Console(file=io.StringIO()),
        )  # fmt: skip
    seconds = time.process_time() - started
    assert run is not None
    classifier, settings, comparison = run.classifier, SEEN["settings"], SEEN["comparison"]
    assert classifier is not None
    end = learnt_weights(classifier.encoder)
    texts, labels = columns(train)
    targets = np.array([classifier.classes.index(label) for label in labels])
    tested: dict[str, dict[str, float]] = {}
    for share in (FROZEN, HALF, TRAINED):
        blend(classifier.encoder, SEEN["start"], end, share)
        known, new = (
            vectors_of(classifier.encoder, of, precision="float32")
            for of in (texts, columns(test)[0])
        )
        best = fit_regression(settings, known, targets).logits(new).argmax(1)
        tested[str(share)] = scores([classifier.classes[place] for place in best], columns(test)[1])
    return {
        "rows": len(train),
        "test_rows": len(test),
        "left_out": {str(share): comparison.scores[share] for share in comparison.scores},
        "likelihoods": {str(share): comparison.likelihoods[share] for share in comparison.scores},
        "test": tested,
        "chosen": str(comparison.share),
        "processor_seconds": seconds,
    }


def main() -> None:
    """Measure every draw and print JSON."""
    import torch
    from common import facts

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="folders of train.jsonl and test.jsonl"
    )
    parser.add_argument("--classes", type=int, default=20, help="most that are drawn; 0 for all")
    parser.add_argument("--rows", type=int, default=8, help="of each class")
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--unseen", action="store_true", help="test on training rows not drawn")
    parser.add_argument("--test-rows", type=int, default=1000, help="most rows that are tested")
    parser.add_argument("--json", type=Path, required=True, help="where the numbers go")
    options = parser.parse_args()
    torch.set_num_threads(1)
    note_comparison()
    draws: list[dict[str, Any]] = []
    for seed in options.draws:
        for folder in options.data:
            rows = draw_unseen if options.unseen else draw
            train, test = rows(folder, seed, options.classes, options.rows)
            if len(test) > options.test_rows:
                test = random.Random(seed).sample(test, options.test_rows)
            draws.append({"data": folder.name, "draw": seed})
            draws[-1] |= measure(train, test, seed, options.model)
            print(json.dumps(draws[-1]), flush=True)
            noted = {"rows": options.rows, "facts": facts(), "draws": draws}
            options.json.write_text(json.dumps(noted, indent=1) + "\n")


if __name__ == "__main__":
    main()
