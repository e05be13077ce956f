"""Whole training sets: recipes that train a classifier, at their defaults, beside a regression on frozen vectors.

Each run is `textcl train --recipe R --data train.jsonl --dev dev.jsonl --seed S`, and "--set" where other settings are
to be tried; what it saves is scored once on test, and choices between settings are made by the score on dev. What is in
the results already is not run again, so the command can be stopped and started.

    python eval/bench/whole_sets.py --data emotion/isear intent/banking77 --recipes cross-entropy lcl --output out

With "--rows" the sets are drawn: so many training rows of each class as in few_labels.py, and the first dev rows of
these classes.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import facts
from few_labels import Rows, columns, draw, read, scores
from rich.console import Console

import textcl
from textcl.classifier.classifier import vectors_of
from textcl.classifier.linear_probe import fit_linear_probe
from textcl.data.files import atomic_write
from textcl.evaluation.significance import mean_sd, paired_test

MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def drawn(folder: Path, seed: int, options: argparse.Namespace) -> Path:
    """A folder with drawn rows of a set, under a name that says how many and which draw."""
    train, test = draw(folder, seed, options.classes, options.rows)
    names = {row["label"] for row in train}
    dev = [row for row in read(folder / "dev.jsonl") if row["label"] in names][: options.dev_rows]
    if len(test) > options.test_rows:
        test = random.Random(seed).sample(test, options.test_rows)
    place = options.output / f"{folder.name}{options.rows}-{seed}"
    place.mkdir(exist_ok=True)
    parts: dict[str, Rows] = {"train": train, "dev": dev, "test": test}
    for name, rows in parts.items():
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (place / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return place


def frozen(folder: Path, options: argparse.Namespace) -> Sequence[str]:
    """Labels of the test texts by a logistic regression on the vectors of the untouched encoder."""
    encoder = textcl.Encoder.from_pretrained(options.model)
    texts, labels = columns(read(folder / "train.jsonl"))
    names, y = np.unique(labels, return_inverse=True)
    probe = fit_linear_probe(vectors_of(encoder, texts, precision="float32"), y, len(names))
    test, _ = columns(read(folder / "test.jsonl"))
    logits = probe.logits(vectors_of(encoder, test, precision="float32"))
    return names[logits.argmax(1)].tolist()


def trained(folder: Path, recipe: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Labels of the test texts by what a recipe saves, the updates, and what was saved."""
    with tempfile.TemporaryDirectory() as output:
        run = textcl.train(
            recipe, model=options.model, data=str(folder / "train.jsonl"), dev=str(folder / "dev.jsonl"),
            output=Path(output) / "run", settings=[f"seed={seed}", "save_every=0", *options.set],
            console=Console(file=io.StringIO()),
        )  # fmt: skip
    assert run is not None
    assert run.classifier is not None
    test, _ = columns(read(folder / "test.jsonl"))
    labels = run.classifier.predict(test, precision="float32")
    return {"labels": labels, "updates": run.position.step, "dev": run.position.best}


def measure(folder: Path, method: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """One cell: scores on test, updates, and seconds of the processor with the prediction."""
    start = time.process_time()
    if method == "frozen":
        result: dict[str, Any] = {"labels": frozen(folder, options), "updates": 0, "dev": None}
    else:
        result = trained(folder, method.split()[0], seed, options)
    seconds = time.process_time() - start
    _, truth = columns(read(folder / "test.jsonl"))
    found = scores(result["labels"], truth)
    named = {"data": folder.name, "method": method, "seed": seed, "test_rows": len(truth)}
    noted = {name: result[name] for name in ("updates", "dev")}
    return {**named, **noted, "processor_seconds": seconds, **found}


def table(results: list[dict[str, Any]]) -> str:
    """Mean and standard deviation of each cell, and what it is ahead of the frozen encoder."""
    lines = [
        "| set | method | seeds | dev | accuracy | macro-F1 | − frozen | updates | processor s |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    cells: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for each in results:
        cells.setdefault((each["data"], each["method"]), []).append(each)
    for (data, method), runs in sorted(cells.items()):
        line = cells[data, "frozen"][0]["accuracy"]
        accuracy, macro = ([run[name] for run in runs] for name in ("accuracy", "macro_f1"))
        gain = "" if method == "frozen" else f"{np.mean(accuracy) - line:+.2f}"
        seconds = np.mean([run["processor_seconds"] for run in runs])
        dev = [run["dev"] for run in runs if run.get("dev") is not None]
        known = [mean_sd(dev) if dev else "", mean_sd(accuracy), mean_sd(macro), gain]
        row = [data, method, len(runs), *known, runs[0]["updates"]]
        lines.append(f"| {' | '.join(map(str, row))} | {seconds:.0f} |")
    lines += ["", "| difference, pairs of one set and seed | pairs | accuracy |", "|---|---:|---|"]
    by_method: dict[str, dict[tuple[str, int], float]] = {}
    for each in results:
        by_method.setdefault(each["method"], {})[each["data"], each["seed"]] = each["accuracy"]
    first = by_method.get("cross-entropy", {})
    for method, mine in by_method.items():
        pairs = sorted(mine.keys() & first.keys()) if method != "cross-entropy" else []
        tested = paired_test([mine[pair] for pair in pairs], [first[pair] for pair in pairs])
        if tested is not None:
            lines.append(f"| {method} − cross-entropy | {len(pairs)} | {tested} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is not there yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="folders of train, dev and test.jsonl"
    )
    parser.add_argument("--recipes", nargs="+", default=["few-shot", "cross-entropy", "lcl"])
    parser.add_argument("--set", nargs="*", default=[], help="settings, key=value")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--model", default=MODEL, help="its last name decides the recipe's preset")
    parser.add_argument("--rows", type=int, default=0, help="of each class; 0 for whole sets")
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1], help="with --rows")
    parser.add_argument("--classes", type=int, default=20, help="most that are drawn")
    parser.add_argument("--dev-rows", type=int, default=600, help="with --rows")
    parser.add_argument("--test-rows", type=int, default=1000, help="with --rows")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    if options.rows:
        sets = [(folder, seed) for seed in options.draws for folder in options.data]
        options.data = [drawn(folder, seed, options) for folder, seed in sets]
    path = options.output / "results.json"
    results = json.loads(path.read_text())["results"] if path.exists() else []
    done = {(each["data"], each["method"], each["seed"]) for each in results}
    todo = [(folder, "frozen", 0) for folder in options.data]
    methods = [" ".join([recipe, *options.set]) for recipe in options.recipes]
    todo += [
        (f, method, seed) for seed in options.seeds for method in methods for f in options.data
    ]
    for folder, method, seed in todo:
        if (folder.name, method, seed) in done:
            continue
        results.append(measure(folder, method, seed, options))
        print(json.dumps(results[-1]), flush=True)
        with atomic_write(path) as file:
            file.write(
                (json.dumps({"facts": facts(), "results": results}, indent=1) + "\n").encode()
            )
        (options.output / "table.md").write_text(table(results), encoding="utf-8")


if __name__ == "__main__":
    main()
