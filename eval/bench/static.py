"""Static models beside their teacher and beside model2vec: seven STS tasks, classes by logistic regression, speed.

    nice -n 19 python eval/bench/static.py make FOLDER                  # model2vec's own distill of the teacher
    nice -n 19 python eval/bench/static.py score NAME MODEL RESULTS    # adds a row to RESULTS/results.json
    nice -n 19 python eval/bench/static.py speed MODEL RESULTS         # the teacher and MODEL in turns
    nice -n 19 python eval/bench/static.py choices MODEL TEXTS RESULTS # losses and learning rates, on 6,144 sentences

TEXTCL_DATA names the folder of the data sets. A model is what `Encoder.from_pretrained` takes; all are encoded by
textcl, model2vec's own folder as its library reads it.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from textcl import DistillEmbeddings, DistillSimilarity, Encoder, evaluate
from textcl.evaluation.tasks import load_task
from textcl.types import Embeddings

TEACHER = "sentence-transformers/all-MiniLM-L6-v2"
STS = ("STS12", "STS13", "STS14", "STS15", "STS16", "STSBenchmark", "SICK-R")
CLASSES = ("banking77", "clinc150")
SPEED_TEXTS, TURNS, CHOICE_TEXTS = 500, 3, 6144


def data(*path: str) -> Path:
    return Path(os.environ["TEXTCL_DATA"]).joinpath(*path)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def sts(encoder: Encoder) -> dict[str, float]:
    """Spearman × 100 over all pairs of a task."""
    return {name: round(float(evaluate(encoder, load_task(name))[name] or 0), 2) for name in STS}


def classes(encoder: Encoder, name: str) -> float:
    """Accuracy × 100 on the test rows of logistic regression on vectors of the training rows."""
    splits = {split: rows_of(data("intent", name, f"{split}.jsonl")) for split in ("train", "test")}
    vectors = {s: encoder.encode([row["text"] for row in rows]) for s, rows in splits.items()}
    labels = {s: [row["label"] for row in rows] for s, rows in splits.items()}
    fitted = LogisticRegression(C=10, max_iter=100).fit(vectors["train"], labels["train"])
    return round(100 * float(fitted.score(vectors["test"], labels["test"])), 2)


def score(name: str, model: str, results: Path) -> None:
    encoder = Encoder.from_pretrained(model)
    scores = sts(encoder)
    row: dict[str, object] = {"name": name, "dimension": encoder.dimension, **scores}
    row["average"] = round(statistics.mean(scores.values()), 2)
    store(results, {**row, **{task: classes(encoder, task) for task in CLASSES}})


def store(results: Path, row: dict[str, object]) -> None:
    path = results / "results.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    rows = [old for old in rows if old["name"] != row["name"]] + [row]
    results.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n")
    print(row)


def speed(model: str, results: Path) -> None:
    """Sentences a processor second of the teacher and of a static model, in turns; the median of the ratios."""
    texts = [row["sentence1"] for row in rows_of(data("sts", "stsb_train.jsonl"))][:SPEED_TEXTS]
    teacher, student = Encoder.from_pretrained(TEACHER), Encoder.from_pretrained(model)
    teacher.encode(texts[:64])
    student.encode(texts[:64])
    turns = [(timed(teacher, texts), timed(student, texts * 10)) for _ in range(TURNS)]
    ratios = [fast / slow for slow, fast in turns]
    turns_of = {
        name: [round(turn[i]) for turn in turns] for i, name in enumerate(("teacher", "static"))
    }
    store(
        results,
        {
            "name": f"speed of {Path(model).name}",
            **turns_of,
            "ratio": round(statistics.median(ratios), 1),
        },
    )


def timed(encoder: Encoder, texts: Sequence[str]) -> float:
    start = time.process_time()
    encoder.encode(texts)
    return len(texts) / (time.process_time() - start)


def choices(model: str, file: str, results: Path) -> None:
    """Dev score after two passes over a few sentences, by loss and learning rate, from one untrained table."""
    texts = Path(file).read_text(encoding="utf-8").splitlines()[:CHOICE_TEXTS]
    taught = torch.from_numpy(Encoder.from_pretrained(TEACHER).encode(texts))
    for loss in ("embeddings", "similarity", "kl"):
        for rate in (1e-3, 3e-3, 1e-2, 2e-2):
            student = learn(Encoder.from_pretrained(model), texts, taught, loss, rate)
            dev = load_task("STSBenchmark-dev")
            found = round(float(evaluate(student, dev)[dev.name] or 0), 2)
            store(results, {"name": f"dev of {loss} at {rate}", "dev": found})


def learn(
    student: Encoder, texts: Sequence[str], taught: torch.Tensor, loss: str, rate: float
) -> Encoder:
    torch.manual_seed(0)
    objective: torch.nn.Module = DistillSimilarity(
        "kl" if loss == "kl" else "mse", temperature=0.05
    )
    if loss == "embeddings":
        project = torch.nn.Linear(student.dimension, taught.shape[1])
        objective = DistillEmbeddings(metric="cosine", project=project)
    tokens, batch, passes = student.tokenize(texts, 64), 256, 2
    parameters = [*student.parameters(), *objective.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0)
    order = torch.cat([torch.randperm(len(texts)) for _ in range(passes)]).split(batch)
    for step, rows in enumerate(order):
        z = Embeddings({"anchor": student(tokens.take(rows)), "teacher": taught[rows]}, rows)
        optimizer.zero_grad()
        objective(z).loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / len(order))
        optimizer.step()
    return student


def make(folder: str) -> None:
    """The same weights through model2vec with its defaults, but float32."""
    from model2vec.distill import distill  # pyright: ignore[reportMissingImports]

    from textcl.encoder.hub import find_model

    distill(str(find_model(TEACHER)), quantize_to="float32").save_pretrained(folder)


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    np.random.seed(0)  # noqa: NPY002 # scikit-learn's
    if command == "make":
        make(rest[0])
    elif command == "score":
        score(rest[0], rest[1], Path(rest[2]))
    elif command == "choices":
        choices(rest[0], rest[1], Path(rest[2]))
    else:
        speed(rest[0], Path(rest[1]))
