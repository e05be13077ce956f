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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from few_labels import Rows, columns, draw, names_of, read, scores
from rich.console import Console

import textcl
from textcl.classifier import supervision
from textcl.classifier.classifier import vectors_of
from textcl.classifier.comparison import (
    FEW_ROWS,
    FROZEN,
    TRAINED,
    Comparison,
    KeepShare,
    blend,
    learnt_weights,
)
from textcl.classifier.fitted_head import fit_regression
from textcl.classifier.labels import ROWS_TO_HOLD_OUT
from textcl.training.recipes import find
from textcl.training.trained import Trained

SEEN: dict[str, Any] = {}
"""Comparison of the last run, and the processor seconds of its updates."""


def draw_unseen(folder: Path, seed: int, classes: int, rows: int) -> tuple[Rows, Rows]:
    """Training rows of drawn classes, and the training rows of these classes that were not drawn."""
    generator = random.Random(seed)
    train = read(folder / "train.jsonl")
    names = names_of(train, rows)
    chosen = generator.sample(names, classes) if 0 < classes < len(names) else names
    drawn, left = list[dict[str, str]](), list[dict[str, str]]()
    for name in chosen:
        own = [row for row in train if row["label"] == name]
        generator.shuffle(own)
        drawn, left = drawn + own[:rows], left + own[rows:]
    return drawn, left


class TimedShare(KeepShare):
    """Notes what processor time the updates take."""

    def before_training(self, total_steps: int) -> None:
        SEEN["updates"] = time.process_time()

    def before_saving(self) -> None:
        if not self._moved:
            SEEN["updates"] = time.process_time() - SEEN["updates"]
        super().before_saving()


def note_comparison() -> None:
    """Let runs leave their comparison in `SEEN`, and train whatever it says."""
    compare = supervision.compare_by_folds

    def noted(*of: Any) -> Comparison:
        SEEN["comparison"] = compare(*of)
        never = {FROZEN: 0.0, TRAINED: 1.0}
        return Comparison(never, never, SEEN["comparison"].rows, 2)

    supervision.compare_by_folds = noted
    supervision.KeepShare = TimedShare


def trained(train: Rows, seed: int, model: str, hold_out: bool) -> tuple[Trained, dict[str, Any]]:
    """A finished run whose weights are the trained ones, and what it chose by which scores.

    A tenth is held out for the choice where that is asked, or parts are left out in turn.
    """
    settings = {"seed": seed, "save_every": 0, "keep_frozen": not hold_out}
    with tempfile.TemporaryDirectory() as folder:
        run = textcl.train(
            "few-shot", model=model, data=train, dev=None if hold_out else "",
            output=Path(folder) / "run", settings=settings, console=Console(file=io.StringIO()),
        )  # fmt: skip
    assert run is not None
    if hold_out:
        left_out = {FROZEN: run.position.before, TRAINED: run.position.last}
        chosen = max((TRAINED, FROZEN), key=lambda share: left_out[share] or 0.0)
        return run, {"left_out": by_share(left_out), "chosen": str(chosen)}
    comparison = SEEN["comparison"]
    return run, {
        "left_out": by_share(comparison.scores),
        "likelihoods": by_share(comparison.likelihoods),
        "chosen": str(comparison.share),
    }


def by_share(values: Mapping[float, float | None]) -> dict[str, float | None]:
    """The same with names that JSON takes."""
    return {str(share): value for share, value in values.items()}


def measure(train: Rows, test: Rows, seed: int, model: str, hold_out: bool) -> dict[str, Any]:
    """One draw: scores of the rows left out in turn, and of the test rows, by what is kept of the training."""
    started = time.process_time()
    run, choice = trained(train, seed, model, hold_out)
    seconds = time.process_time() - started
    if choice["chosen"] == str(FROZEN) and "likelihoods" in choice:
        seconds -= SEEN["updates"]  # a run that chose it makes none
    classifier = run.classifier
    assert classifier is not None
    end = learnt_weights(classifier.encoder)
    start = dict(textcl.Encoder.from_pretrained(model).named_parameters())
    settings = find("few-shot").settings(model, {"seed": seed, "classes": classifier.classes})
    assert isinstance(settings, textcl.LabelledSettings)
    texts, labels = columns(train)
    targets = np.array([classifier.classes.index(label) for label in labels])
    tested: dict[str, dict[str, float]] = {}
    for share in (float(name) for name in choice["left_out"]):
        blend(classifier.encoder, start, end, share)
        known, new = (
            vectors_of(classifier.encoder, of, precision="float32")
            for of in (texts, columns(test)[0])
        )
        best = fit_regression(settings, known, targets).logits(new).argmax(1)
        tested[str(share)] = scores([classifier.classes[place] for place in best], columns(test)[1])
    facts = {"rows": len(train), "test_rows": len(test), "test": tested}
    return facts | choice | {"processor_seconds": seconds}


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
    parser.add_argument(
        "--hold-out", action="store_true", help="a tenth for the choice, of few rows too"
    )
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
            few = max(FEW_ROWS, ROWS_TO_HOLD_OUT * len({row["label"] for row in train}))
            hold_out = options.hold_out or len(train) >= few
            draws[-1] |= measure(train, test, seed, options.model, hold_out)
            print(json.dumps(draws[-1]), flush=True)
            noted = {"rows": options.rows, "facts": facts(), "draws": draws}
            options.json.write_text(json.dumps(noted, indent=1) + "\n")


if __name__ == "__main__":
    main()
