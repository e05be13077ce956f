"""Cross-entropy, SupCon and LCL on the emotion tasks with one protocol: the table of eval/results.

Every run trains all-MiniLM-L6-v2 as a classifier, keeps the epoch with the best dev accuracy, fits a temperature on dev
and scores the test split once. Runs of the stage "tune" see dev alone. What is in the results already is not run again,
so the command can be stopped and started; "--minutes" starts no further run after that time.

TEXTCL_DATA=… python eval/bench/emotion.py --output eval/results/… tune main hard rest variants multilabel classes

The number-of-classes study draws nested subsets of Empathetic Dialogues: --classes 4,8,16,32 --draw 0.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from common import facts
from rich.console import Console

import textcl
from textcl.calibration import fit_temperature, fit_thresholds
from textcl.classification import ClassificationResult, score_classes, score_labels
from textcl.evaluation import tolerance
from textcl.files import atomic_write
from textcl.labelled import LabelledTask, find_labelled, load_labelled
from textcl.significance import mean_sd, paired_test

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
COMMON = {"max_length": 64, "batch_size": 32, "epochs": 2, "learning_rate": 1e-4, "save_every": 0}
METHODS = ("cross-entropy", "supcon", "lcl")
CONTRAST = {"temperature": 0.3, "loss_weight": 0.5}
MULTI_LABEL = {"steps": 300, "batch_size": 64, "learning_rate": 2e-4}
HARD = [f"EmpatheticDialogues/hard-{letter}" for letter in "abcd"]


@dataclass(frozen=True)
class Run:
    """One training."""

    stage: str
    task: str
    recipe: str
    seed: int
    changes: dict[str, object] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, object]:
        contrast = {} if self.recipe == "cross-entropy" else CONTRAST
        return {**COMMON, **contrast, **self.changes, "seed": self.seed}

    @property
    def method(self) -> str:
        told = "".join(f", {key}={value}" for key, value in self.changes.items())
        return self.recipe + told

    @property
    def key(self) -> list[object]:
        return [self.stage, self.task, self.method, self.seed]


def plan(stages: list[str], options: argparse.Namespace) -> Iterator[Run]:
    """All runs of the stages in turn, seed by seed, so that what is there at any time can be paired."""
    sizes = [int(count) for count in options.classes.split(",")]
    once = {"epochs": 1}
    stage_runs = {
        "tune": tuning_runs(),
        "main": grid("main", ["ISEAR", "EmoInt"], 5),
        "hard": grid("hard", HARD, 3),
        "rest": grid("rest", ["SST-5", "EmpatheticDialogues", "GoEmotions"], 1, once),
        "variants": [
            Run("variants", "ISEAR", recipe, seed, changes)
            for seed in range(3)
            for recipe, changes in (
                ("lcl", {"weighting": "shared"}),
                ("supcon", {"rows_per_class": 8}),
                ("lcl", {"rows_per_class": 8}),
            )
        ],
        "multilabel": [Run("multilabel", "GoEmotions-multilabel", "cross-entropy", 0, MULTI_LABEL)],
        "classes": grid("classes", [nested(size, options.draw) for size in sizes], 1),
    }
    for stage in stages:
        yield from stage_runs[stage]


def tuning_runs() -> list[Run]:
    """One epoch with a seed that no other stage uses; LCL with the shared weighting head, at half the cost."""
    rates = [("cross-entropy", {"learning_rate": rate}) for rate in (1e-4, 2e-4)]
    contrasts = [
        (recipe, {"temperature": temperature, "loss_weight": weight, **extra})
        for temperature, weight in ((0.3, 0.5), (0.1, 0.5), (0.3, 0.9))
        for recipe, extra in (("supcon", {}), ("lcl", {"weighting": "shared"}))
    ]
    return [
        Run("tune", "ISEAR", recipe, 100, {"epochs": 1, **changes})
        for recipe, changes in (*rates, *contrasts)
    ]


def grid(
    stage: str, tasks: list[str], seeds: int, changes: dict[str, object] | None = None
) -> list[Run]:
    return [
        Run(stage, task, recipe, seed, changes or {})
        for seed in range(seeds)
        for task in tasks
        for recipe in METHODS
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
    parts = {name: load_labelled(task, name, lcl_preparation=True) for name in ("train", "dev")}
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.jsonl" for name in parts}
        for name, part in parts.items():
            lines = [json.dumps(row, ensure_ascii=False) for row in part.rows()]
            paths[name].write_text("\n".join(lines) + "\n", encoding="utf-8")
        start = time.perf_counter()
        done = textcl.train(
            run.recipe, model=MODEL, data=str(paths["train"]), dev=str(paths["dev"]),
            output=f"{folder}/run", settings=run.settings, console=Console(file=io.StringIO()),
        )  # fmt: skip
        seconds = time.perf_counter() - start
        assert done is not None
        assert done.classifier is not None
        position, used = done.position, dict(done.folder.facts["settings"])
    for name in ("data", "dev", "classes", "class_rows"):
        used.pop(name)
    result = {
        **asdict(run),
        "method": run.method,
        "dev": position.best,
        "best_step": position.best_step,
        "steps": position.step,
        "train_rows": len(parts["train"].texts),
        "seconds": round(seconds, 1),
        "training_seconds": round(position.seconds, 1),
        "settings": used,
    }
    if run.stage != "tune":
        result |= measure(
            done.classifier, parts["dev"], load_labelled(task, "test", lcl_preparation=True)
        )
    return result


def measure(
    classifier: textcl.Classifier, dev: LabelledTask, test: LabelledTask
) -> dict[str, object]:
    """Scores on test, before and after what dev calibrates."""
    truth = {part.split: classifier.targets(part.labels, part.split) for part in (dev, test)}
    logits = classifier.logits(dev.texts, precision="float32")
    vectors = torch.from_numpy(
        classifier.encoder.encode(test.texts, precision="float32", normalize=False)
    )
    with torch.inference_mode():
        found = classifier.head(vectors).numpy()
    temperature = fit_temperature(logits, truth["dev"])
    plain, scaled = (classifier.probabilities(found, t) for t in (1.0, temperature))
    said: dict[str, object] = {"test_rows": len(test.texts), "fitted_temperature": temperature}
    if test.multi_label:
        thresholds = fit_thresholds(classifier.probabilities(logits, 1.0), truth["dev"])
        said["thresholds"] = thresholds.round(4).tolist()
        tuned = score_labels(plain, truth["test"], classifier.classes, thresholds)
        result = score_labels(plain, truth["test"], classifier.classes)
        after = score_labels(scaled, truth["test"], classifier.classes)
        said |= {f"tuned_{name}": value for name, value in numbers(tuned).items()}
        said["f1_by_label"] = {
            fixed.name: [round(100 * fixed.f1, 2), round(100 * better.f1, 2), fixed.support]
            for fixed, better in zip(result.per_class, tuned.per_class, strict=True)
        }
    else:
        result = score_classes(plain, truth["test"], classifier.classes)
        after = score_classes(scaled, truth["test"], classifier.classes)
        said["tolerance"] = float(tolerance(vectors, torch.from_numpy(truth["test"])))
    return {
        **said,
        **numbers(result),
        "calibrated_ece": 100 * after.calibration.error,
        "calibrated_entropy": after.entropy,
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


def table(results: list[dict]) -> str:
    """One block a stage."""
    blocks = [tuning([r for r in results if r["stage"] == "tune"])]
    for stage in ("main", "hard", "rest", "variants", "classes"):
        blocks.append(comparison(stage, [r for r in results if r["stage"] == stage], results))
    blocks.append(multi_label([r for r in results if r["stage"] == "multilabel"]))
    return "\n\n".join(block for block in blocks if block) + "\n"


def tuning(runs: list[dict]) -> str:
    if not runs:
        return ""
    lines = ["## tune (ISEAR, dev accuracy)\n", "| run | dev | seconds |", "|---|---:|---:|"]
    lines += [f"| {r['method']} | {r['dev']:.2f} | {r['seconds']:.0f} |" for r in runs]
    return "\n".join(lines)


def comparison(stage: str, runs: list[dict], everything: list[dict]) -> str:
    """Mean ± sd of the test scores, and the paired test against cross-entropy (with the same seeds)."""
    if not runs:
        return ""
    lines = [
        f"## {stage}\n",
        "| task | method | seeds | dev | accuracy | weighted F1 | macro F1 | entropy (bits) | ECE | ECE calibrated | "
        "tolerance | seconds | accuracy − cross-entropy |",
        "|---|---|---|" + "---:|" * 9 + "---|",
    ]
    for task in dict.fromkeys(r["task"] for r in runs):
        for method in dict.fromkeys(r["method"] for r in runs if r["task"] == task):
            mine = [r for r in runs if (r["task"], r["method"]) == (task, method)]
            baseline = {
                r["seed"]: r["accuracy"]
                for r in everything
                if r["task"] == task
                and r["recipe"] == "cross-entropy"
                and r["stage"] in (stage, "main")
            }
            both = [r for r in mine if r["seed"] in baseline]
            told = "–"
            if mine[0]["recipe"] != "cross-entropy" and both:
                tested = paired_test(
                    [r["accuracy"] for r in both], [baseline[r["seed"]] for r in both]
                )
                difference = statistics.mean(r["accuracy"] - baseline[r["seed"]] for r in both)
                told = str(tested) if tested else f"{difference:+.2f} (1 pair, no test)"
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
                f"| {task} | {method} | {seeds} | " + " | ".join([*cells, seconds, told]) + " |"
            )
    return "\n".join(lines)


def multi_label(runs: list[dict]) -> str:
    if not runs:
        return ""
    lines = [
        "## multilabel\n",
        "| method | seed | thresholds | macro F1 | micro F1 | subset accuracy |",
        "|---|---|---|---:|---:|---:|",
    ]
    for r in runs:
        for told, prefix in (("0.5", ""), ("tuned on dev", "tuned_")):
            scores = [f"{r[prefix + name]:.2f}" for name in ("macro_f1", "micro_f1", "accuracy")]
            lines.append(f"| {r['method']} | {r['seed']} | {told} | {' | '.join(scores)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stages", nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--classes", default="4,8,16,32", help="sizes of the subsets")
    parser.add_argument("--draw", type=int, default=0, help="which order of the classes")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    path, start = options.output / "results.json", time.perf_counter()
    kept = json.loads(path.read_text())["results"] if path.exists() else []
    done = [[r["stage"], r["task"], r["method"], r["seed"]] for r in kept]
    for run in plan(options.stages, options):
        if run.key in done:
            continue
        if time.perf_counter() - start > 60 * options.minutes:
            break
        kept.append(train(run))
        last = kept[-1]
        score = f" test {last['accuracy']:.2f}" if "accuracy" in last else ""
        print(*run.key, f"dev {last['dev']:.2f}{score} in {last['seconds']:.0f} s", flush=True)
        with atomic_write(path) as file:
            file.write((json.dumps({"facts": facts(), "results": kept}, indent=1) + "\n").encode())
        (options.output / "table.md").write_text(table(kept), encoding="utf-8")
    (options.output / "table.md").write_text(table(kept), encoding="utf-8")


if __name__ == "__main__":
    main()
