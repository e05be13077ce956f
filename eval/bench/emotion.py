"""Cross-entropy, SupCon and LCL on the emotion tasks with one protocol: the table of eval/results.

Every run trains all-MiniLM-L6-v2 as a classifier for a number of updates that is the same for all methods, keeps the
last weights, fits a temperature (or thresholds) on dev and scores the test split once. Runs of the stage "tune" see dev
alone. What is in the results already is not run again, so the command can be stopped and started; "--minutes" starts no
further run after that time. "--jobs" trains that many at a time, each with its share of the cores; what a run costs is
counted in seconds of processor time, so that it does not depend on what else the machine does.

TEXTCL_DATA=… python eval/bench/emotion.py --output eval/results/… tune main hard rest variants multilabel classes

The number-of-classes study draws nested subsets of Empathetic Dialogues: --classes 4,8,16,32 --draw 0.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import facts
from rich.console import Console

import textcl
from textcl.classifier.fitting import fit_temperature, fit_thresholds
from textcl.data.files import atomic_write
from textcl.evaluation.classification import ClassificationResult, score_classes, score_labels
from textcl.evaluation.geometry import tolerance
from textcl.evaluation.labelled import LabelledTask, find_labelled, load_labelled
from textcl.evaluation.significance import mean_sd, paired_test

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
COMMON: dict[str, Any] = {
    "max_length": 64,
    "batch_size": 32,
    "steps": 200,
    "learning_rate": 3e-4,
    "head": "own",
    "warmup": 0.1,
    "save_every": 0,
}
METHODS: dict[str, tuple[str, dict[str, object]]] = {
    "cross-entropy": ("cross-entropy", {}),
    "supcon": ("supcon", {"temperature": 0.3, "loss_weight": 0.9}),
    "lcl": ("lcl", {"temperature": 0.3, "loss_weight": 0.9, "weighting": "shared"}),
}
MULTI_LABEL: dict[str, object] = {"steps": 300, "batch_size": 64}
HARD = [f"EmpatheticDialogues/hard-{letter}" for letter in "abcd"]


@dataclass(frozen=True)
class Run:
    """One training: a method of the table, with what is changed of it."""

    stage: str
    task: str
    base: str
    seed: int
    changes: dict[str, object] = field(default_factory=dict)

    @property
    def recipe(self) -> str:
        return METHODS[self.base][0]

    @property
    def settings(self) -> dict[str, object]:
        return {**COMMON, **METHODS[self.base][1], **self.changes, "seed": self.seed}

    @property
    def method(self) -> str:
        return self.base + "".join(f", {key}={value}" for key, value in self.changes.items())

    @property
    def key(self) -> list[object]:
        return [self.stage, self.task, self.method, self.seed]


def plan(stages: list[str], options: argparse.Namespace) -> Iterator[Run]:
    """All runs of the stages in turn, seed by seed, so that what is there at any time can be paired."""
    sizes = [int(count) for count in options.classes.split(",")]
    few: dict[str, object] = {"steps": 60}
    both = grid("main", ["ISEAR"], options.seeds or 5)
    both += grid("main", ["EmoInt"], options.seeds or 5, {"steps": 100})
    variants: tuple[tuple[str, dict[str, object]], ...] = (
        ("lcl", {"weighting": "encoder"}),
        ("supcon", {"rows_per_class": 8}),
        ("lcl", {"rows_per_class": 8}),
        ("lcl", {"loss_weight": 0.5}),
    )
    stage_runs = {
        "tune": tuning_runs(),
        "main": sorted(both, key=lambda run: run.seed),
        "hard": grid("hard", HARD, options.seeds or 1, few),
        "rest": grid("rest", ["SST-5", "EmpatheticDialogues", "GoEmotions"], options.seeds or 1),
        "variants": [
            Run("variants", "ISEAR", base, seed, changes)
            for seed in range(options.seeds or 2)
            for base, changes in variants
        ],
        "multilabel": [Run("multilabel", "GoEmotions-multilabel", "cross-entropy", 0, MULTI_LABEL)],
        "classes": grid(
            "classes", [nested(size, options.draw) for size in sizes], options.seeds or 1, few
        ),
    }
    for stage in stages:
        yield from (
            run for run in stage_runs[stage] if not options.tasks or run.task in options.tasks
        )


def tuning_runs() -> list[Run]:
    """With a seed of their own. Temperature and λ are tuned for LCL, and SupCon takes the same."""
    rates: list[tuple[str, dict[str, object]]] = [
        ("cross-entropy", {"learning_rate": rate}) for rate in (1e-4, 3e-4)
    ]
    contrasts: list[tuple[str, dict[str, object]]] = [
        ("lcl", {"temperature": temperature, "loss_weight": weight})
        for temperature, weight in ((0.3, 0.5), (0.1, 0.5), (0.3, 0.1), (0.3, 0.9))
    ]
    return [Run("tune", "ISEAR", base, 100, changes) for base, changes in (*rates, *contrasts)]


def grid(
    stage: str, tasks: list[str], seeds: int, changes: dict[str, object] | None = None
) -> list[Run]:
    return [
        Run(stage, task, base, seed, changes or {})
        for seed in range(seeds)
        for task in tasks
        for base in METHODS
    ]


def nested(count: int, draw: int) -> str:
    """The first `count` classes of Empathetic Dialogues in an order that `draw` decides."""
    classes = np.random.default_rng(draw).permutation(
        sorted(find_labelled("EmpatheticDialogues").classes)
    )
    return "EmpatheticDialogues/" + ",".join(classes[:count])


def train(run: Run) -> dict[str, object]:
    """Train, and measure on dev; on test too unless the run is for tuning."""
    task = find_labelled(run.task)
    rows, dev = (load_labelled(task, name, lcl_preparation=True) for name in ("train", "dev"))
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        done = textcl.train(
            run.recipe, model=MODEL, data=rows.rows(), dev="", output=f"{folder}/run",
            settings=run.settings, console=Console(file=io.StringIO()),
        )  # fmt: skip
        trained = time.process_time()
        assert done is not None
        assert done.classifier is not None
        used = {
            key: value
            for key, value in done.folder.facts.settings.items()
            if key not in ("data", "dev", "classes", "class_rows")
        }
    test = None if run.stage == "tune" else load_labelled(task, "test", lcl_preparation=True)
    measured = measure(done.classifier, dev, test)
    return {
        **asdict(run),
        "recipe": run.recipe,
        "method": run.method,
        "train_rows": len(rows.texts),
        "epochs": round(done.position.step * used["batch_size"] / len(rows.texts), 2),
        "threads": torch.get_num_threads(),
        "training_seconds": round(trained - start, 1),
        "seconds": round(time.process_time() - start, 1),
        "settings": used,
        **measured,
    }


def measure(
    classifier: textcl.Classifier, dev: LabelledTask, test: LabelledTask | None
) -> dict[str, object]:
    """Scores on dev (encoded fast) and on test in float32, before and after what dev calibrates."""
    classes = classifier.classes
    truth = classifier.targets(dev.labels, "dev")
    logits = classifier.logits(dev.texts)
    on_dev = classifier.probabilities(logits, 1.0)
    temperature = fit_temperature(logits, truth)
    score = score_labels if dev.multi_label else score_classes
    content: dict[str, object] = {
        "dev": 100 * score(on_dev, truth, classes).accuracy,
        "fitted_temperature": temperature,
    }
    if test is None:
        return content
    vectors = classifier.encoder.encode(test.texts, precision="float32", normalize=False)
    found, goal = classifier.logits_of(vectors), classifier.targets(test.labels, "test")
    plain, scaled = (classifier.probabilities(found, t) for t in (1.0, temperature))
    result, after = score(plain, goal, classes), score(scaled, goal, classes)
    content |= {
        "test_rows": len(test.texts),
        **numbers(result),
        "calibrated_ece": 100 * after.calibration.error,
        "calibrated_entropy": after.entropy,
    }
    if not dev.multi_label:
        return {
            **content,
            "tolerance": float(tolerance(torch.from_numpy(vectors), torch.from_numpy(goal))),
        }
    thresholds = fit_thresholds(on_dev, truth)
    tuned = score_labels(plain, goal, classes, thresholds)
    return {
        **content,
        **{f"tuned_{name}": value for name, value in numbers(tuned).items()},
        "by_label": [
            {
                "label": fixed.name,
                "texts": fixed.support,
                "threshold": round(float(threshold), 4),
                "f1": round(100 * fixed.f1, 2),
                "tuned_f1": round(100 * better.f1, 2),
            }
            for fixed, better, threshold in zip(
                result.per_class, tuned.per_class, thresholds, strict=True
            )
        ],
    }


def numbers(result: ClassificationResult) -> dict[str, float]:
    return {
        "accuracy": 100 * result.accuracy,
        "macro_f1": 100 * result.macro_f1,
        "weighted_f1": 100 * result.weighted_f1,
        "micro_f1": 100 * result.micro_f1,
        "entropy": result.entropy,
        "ece": 100 * result.calibration.error,
    }


# Tables ---------------------------------------------------------------------------------------------------------------


def table(results: list[dict[str, Any]]) -> str:
    """One block a stage."""
    blocks = [tuning([r for r in results if r["stage"] == "tune"])]
    for stage in ("main", "hard", "rest", "variants", "classes"):
        blocks.append(comparison(stage, [r for r in results if r["stage"] == stage], results))
    blocks.append(multi_label([r for r in results if r["stage"] == "multilabel"]))
    return "\n\n".join(block for block in blocks if block) + "\n"


def tuning(runs: list[dict[str, Any]]) -> str:
    if not runs:
        return ""
    lines = ["## tune (ISEAR)\n", "| run | dev accuracy | CPU seconds |", "|---|---:|---:|"]
    lines += [f"| {r['method']} | {r['dev']:.2f} | {r['seconds']:.0f} |" for r in runs]
    return "\n".join(lines)


def comparison(stage: str, runs: list[dict[str, Any]], everything: list[dict[str, Any]]) -> str:
    """Mean ± sd of the test scores, and the paired test against cross-entropy (with the same seeds)."""
    if not runs:
        return ""
    lines = [
        f"## {stage}\n",
        "| task | method | seeds | dev | accuracy | weighted F1 | macro F1 | entropy (bits) | ECE | ECE calibrated | "
        f"tolerance | CPU seconds | accuracy − {'unchanged' if stage == 'variants' else 'cross-entropy'} |",
        "|---|---|---|" + "---:|" * 9 + "---|",
    ]
    for task in dict.fromkeys(r["task"] for r in runs):
        here = [r for r in runs if r["task"] == task]
        cross_entropy = next((r["method"] for r in here if r["base"] == "cross-entropy"), "")
        for method in dict.fromkeys(r["method"] for r in here):
            mine = [r for r in here if r["method"] == method]
            compared = (
                {("main", mine[0]["base"])} if stage == "variants" else {(stage, cross_entropy)}
            )
            baseline = {
                r["seed"]: r["accuracy"]
                for r in everything
                if r["task"] == task and (r["stage"], r["method"]) in compared
            }
            both = [r for r in mine if r["seed"] in baseline]
            shown = "–"
            if both and mine[0]["method"] != cross_entropy:
                tested = paired_test(
                    [r["accuracy"] for r in both], [baseline[r["seed"]] for r in both]
                )
                difference = statistics.mean(r["accuracy"] - baseline[r["seed"]] for r in both)
                shown = str(tested) if tested else f"{difference:+.2f} (1 pair, no test)"
            cells = [
                mean_sd([r[name] for r in mine], digits)
                for name, digits in (
                    ("dev", 2),
                    ("accuracy", 2),
                    ("weighted_f1", 2),
                    ("macro_f1", 2),
                    ("entropy", 3),
                    ("ece", 2),
                    ("calibrated_ece", 2),
                    ("tolerance", 3),
                )
            ]
            seconds = f"{statistics.mean(r['seconds'] for r in mine):.0f}"
            seeds = ", ".join(str(r["seed"]) for r in mine)
            lines.append(
                f"| {task} | {method} | {seeds} | " + " | ".join([*cells, seconds, shown]) + " |"
            )
    return "\n".join(lines)


def multi_label(runs: list[dict[str, Any]]) -> str:
    if not runs:
        return ""
    lines = [
        "## multilabel\n",
        "| method | seed | thresholds | macro F1 | micro F1 | subset accuracy |",
        "|---|---|---|---:|---:|---:|",
    ]
    for r in runs:
        for shown, prefix in (("0.5", ""), ("tuned on dev", "tuned_")):
            scores = [f"{r[prefix + name]:.2f}" for name in ("macro_f1", "micro_f1", "accuracy")]
            lines.append(f"| {r['method']} | {r['seed']} | {shown} | {' | '.join(scores)} |")
    return "\n".join(lines)


def results_of(runs: Iterator[Run], jobs: int, until: float) -> Iterator[dict[str, object]]:
    """Results as they come, of processes that train side by side; after `until` none is started."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, torch.set_num_threads, (threads,)) as pool:
        waiting: set[Future[dict[str, object]]] = set()
        while True:
            while len(waiting) < jobs and time.perf_counter() < until and (run := next(runs, None)):
                waiting.add(pool.submit(train, run))
            if not waiting:
                return
            finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in finished)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stages", nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--tasks", nargs="*", help="only these of a stage")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--classes", default="4,8,16,32", help="sizes of the subsets")
    parser.add_argument(
        "--seeds", type=int, help="other than 5 for main, 2 for variants, 1 for the rest"
    )
    parser.add_argument("--draw", type=int, default=0, help="which order of the classes")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    path, start = options.output / "results.json", time.perf_counter()
    kept = json.loads(path.read_text())["results"] if path.exists() else []
    done = [[r["stage"], r["task"], r["method"], r["seed"]] for r in kept]
    todo = (run for run in plan(options.stages, options) if run.key not in done)
    for result in results_of(todo, options.jobs, start + 60 * options.minutes):
        kept.append(result)
        score = f" test {result['accuracy']:.2f}" if "accuracy" in result else ""
        shown = f"dev {result['dev']:.2f}{score} in {result['seconds']:.0f} s"
        print(*(result[name] for name in ("stage", "task", "method", "seed")), shown, flush=True)
        with atomic_write(path) as file:
            file.write((json.dumps({"facts": facts(), "results": kept}, indent=1) + "\n").encode())
        (options.output / "table.md").write_text(table(kept), encoding="utf-8")
    (options.output / "table.md").write_text(table(kept), encoding="utf-8")


if __name__ == "__main__":
    main()
