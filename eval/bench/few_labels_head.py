"""Few labels: a logistic regression on frozen vectors as they are, and on the same vectors brought to length 1.

Training rows alone: of each data set a pool of rows is embedded once, of 20 classes where there are many; each draw
takes 20 of the classes of the pool and some rows of each, and is scored on the other rows of the pool.

    python eval/bench/few_labels_head.py --data intent/banking77 emotion/isear --pool 30 60
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from few_labels import read

import textcl
from textcl.classifier.classifier import vectors_of
from textcl.classifier.linear_probe import fit_linear_probe

POOL_SEED, CLASSES = 7, 20


def pool(folder: Path, rows: int, encoder: textcl.Encoder) -> tuple[np.ndarray, np.ndarray]:
    """Vectors and class ids."""
    generator, data = random.Random(POOL_SEED), read(folder / "train.jsonl")
    names = sorted({row["label"] for row in data})
    if len(names) > 2 * CLASSES:
        names = generator.sample(names, CLASSES)
    texts, ids = list[str](), list[int]()
    for place, name in enumerate(names):
        mine = [row["text"] for row in data if row["label"] == name]
        generator.shuffle(mine)
        texts += mine[:rows]
        ids += [place] * len(mine[:rows])
    return vectors_of(encoder, texts, precision="float32"), np.array(ids)


def accuracies(x: np.ndarray, y: np.ndarray, rows: int, seed: int) -> tuple[float, float]:
    """Of both regressions, × 100."""
    generator = np.random.default_rng(seed)
    classes = generator.permutation(int(y.max()) + 1)[:CLASSES]
    drawn = [generator.permutation(np.flatnonzero(y == each))[:rows] for each in classes]
    train = np.concatenate(drawn)
    test = np.setdiff1d(np.flatnonzero(np.isin(y, classes)), train)
    place = {each: at for at, each in enumerate(classes.tolist())}
    truth = [np.array([place[each] for each in y[part].tolist()]) for part in (train, test)]
    found: list[float] = []
    for normalize in (False, True):
        probe = fit_linear_probe(x[train], truth[0], len(classes), seed=seed, normalize=normalize)
        found.append(100 * float((probe.logits(x[test]).argmax(1) == truth[1]).mean()))
    return found[0], found[1]


def describe(name: str, rows: int, pairs: Sequence[tuple[float, float]]) -> str:
    """A line of a table."""
    gains = [unit - raw for raw, unit in pairs]
    error = statistics.stdev(gains) / len(gains) ** 0.5
    raw, unit = (statistics.mean(each) for each in zip(*pairs, strict=True))
    gain = f"{statistics.mean(gains):+.2f} ± {error:.2f}"
    return f"| {name} | {rows} | {raw:.2f} | {unit:.2f} | {gain} |"


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--pool", type=int, nargs="+", required=True, help="rows a class, for each")
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--draws", type=int, nargs="+", default=list(range(200, 210)))
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoder = textcl.Encoder.from_pretrained(options.model)
    for folder, size in zip(options.data, options.pool, strict=True):
        x, y = pool(folder, size, encoder)
        for rows in options.rows:
            pairs = [accuracies(x, y, rows, seed) for seed in options.draws]
            print(describe(folder.name, rows, pairs), flush=True)


if __name__ == "__main__":
    main()
