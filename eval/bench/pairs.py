"""Gain of training on pairs and on names of concepts: the stand-in encoder before and after, small budgets.

The stand-in is the first three layers of all-MiniLM-L6-v2 with mean pooling. Pairs are scored by nDCG@10 on Cranfield,
CISI and held-out questions of QNLI among all its sentences, by cosine and in float32; names by how many mentions of the
NCBI disease corpus have a name of the right concept nearest to them, among all names of MEDIC.

    python eval/bench/pairs.py --data FOLDER --json out.json

The folder holds `retrieval/cranfield`, `retrieval/cisi`, `qa/qnli_dev.jsonl`, `nli/triplets_train.jsonl` and
`entity_linking`.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import facts
from rich.console import Console

import textcl
from textcl.evaluation.linking import Query, concept_ids, linking_accuracy, nearest_names
from textcl.evaluation.ranking import rank_measures
from textcl.suites import Ranking, run_suite

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
MINED = ("anchor", "positive", "negative_1", "negative_2")
BUDGET = {"steps": 40, "learning_rate": 5e-5, "num_layers": 3, "log_every": 10}


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Qnli:
    """Questions with the sentence that answers them; a fifth of the sentences is held out with all their questions."""

    def __init__(self, folder: Path) -> None:
        rows = read(folder / "qa" / "qnli_dev.jsonl")
        self.sentences = sorted({row["sentence"] for row in rows})
        pairs = [row for row in rows if row["label"] == "entailment"]
        answers = sorted({row["sentence"] for row in pairs})
        held = set(random.Random(0).sample(answers, len(answers) // 5))
        self.train = [
            {"anchor": row["question"], "positive": row["sentence"]}
            for row in pairs
            if row["sentence"] not in held
        ]
        self.held = [row for row in pairs if row["sentence"] in held]

    def score(self, encoder: textcl.Encoder) -> float:
        """nDCG@10 of the held-out questions among all sentences."""
        questions = encoder.encode(
            [row["question"] for row in self.held], normalize=True, precision="float32"
        )
        sentences = encoder.encode(self.sentences, normalize=True, precision="float32")
        products = questions @ sentences.T
        runs = {
            str(i): {self.sentences[j]: float(row[j]) for j in np.argsort(-row)[:10]}
            for i, row in enumerate(products)
        }
        qrels = {str(i): {row["sentence"]: 1} for i, row in enumerate(self.held)}
        return rank_measures(qrels, runs, cuts=(10,)).mean["ndcg@10"]


def mined(start: textcl.Encoder, qnli: Qnli, folder: Path) -> list[dict[str, Any]]:
    """The training pairs with up to two hard negatives, by `textcl mine` and its default rules, among all sentences."""
    start.save_pretrained(folder / "start")
    pairs, corpus, output = (folder / f"{name}.jsonl" for name in ("pairs", "corpus", "mined"))
    sentences = [{"text": text} for text in qnli.sentences]
    for path, rows in ((pairs, qnli.train), (corpus, sentences)):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    command = [sys.executable, "-m", "textcl", "mine", folder / "start", pairs]
    options = ["--corpus", corpus, "-o", output, "--negatives", "2", "--keep-short"]
    subprocess.run([*command, *options], check=True, stdout=sys.stderr)
    return [{key: row[key] for key in MINED} for row in read(output)]


class Retrieval:
    """nDCG@10 on Cranfield, CISI and held-out QNLI."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.qnli = folder, Qnli(folder)

    def score(self, encoder: textcl.Encoder) -> dict[str, float]:
        """The three numbers × 100."""
        encoder.max_length = 256
        tasks = [Ranking.of_folder(self.folder / "retrieval" / n) for n in ("cranfield", "cisi")]
        results = run_suite(encoder, tasks).tasks
        scores = {name: result.measures["ndcg@10"] or 0.0 for name, result in results.items()}
        scores["qnli"] = 100 * self.qnli.score(encoder)
        return {name: round(score, 2) for name, score in scores.items()}


class Linking:
    """Names of MEDIC to train on, and to link the mentions of the NCBI test set to."""

    def __init__(self, folder: Path) -> None:
        concepts = read(folder / "entity_linking" / "medic_dictionary.jsonl")
        self.names = [
            (name, concept["id"], frozenset([concept["id"], *concept["alt_ids"]]))
            for concept in concepts
            for name in dict.fromkeys([concept["name"], *concept["synonyms"]])
        ]
        self.rows = [{"text": name, "label": concept} for name, concept, _ in self.names]
        self.mentions = read(folder / "entity_linking" / "ncbi_disease_test.jsonl")

    def score(self, encoder: textcl.Encoder) -> dict[str, float]:
        """Accuracy at 1 and 5 × 100, mentions whole, raw vectors as SapBERT's evaluation takes them."""
        names = encoder.encode([name for name, _, _ in self.names], precision="float32")
        mentions = encoder.encode([row["mention"] for row in self.mentions], precision="float32")
        near = nearest_names(mentions, names, 5)
        queries = [
            Query([places.tolist()], frozenset().union(*map(concept_ids, row["ids"])))
            for places, row in zip(near, self.mentions, strict=True)
        ]
        known = [ids for _, _, ids in self.names]
        return {
            f"ncbi acc@{k}": round(100 * linking_accuracy(queries, known, k), 2) for k in (1, 5)
        }


def train(
    recipe: str, model: str, rows: list[dict[str, Any]], seed: int, **settings: object
) -> textcl.Encoder:
    """A finished run of the budget, without a dev set: the last weights count."""
    with tempfile.TemporaryDirectory() as folder:
        run = textcl.train(
            recipe,
            model=model,
            data=rows,
            dev="",
            output=Path(folder) / "run",
            settings={**BUDGET, "seed": seed, **settings},
            console=Console(file=io.StringIO()),
        )
    assert run is not None
    return run.encoder


def main() -> None:
    """Measure before and after, and print JSON line by line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    retrieval, linking = Retrieval(options.data), Linking(options.data)
    nli = read(options.data / "nli" / "triplets_train.jsonl")[:10_000]
    bare = [{"anchor": row["anchor"], "positive": row["positive"]} for row in nli]
    short, lengths = {"batch_size": 128, "max_length": 50}, {"batch_size": 64, "max_length": 64}
    start = textcl.Encoder.from_pretrained(options.model, num_layers=3)
    qnli = retrieval.qnli.train
    with tempfile.TemporaryDirectory() as folder:
        wanted = any("mined" in name for name in options.only or ["qnli mined"])
        harder = mined(start, retrieval.qnli, Path(folder)) if wanted else []
    configurations = {
        "qnli": ("pairs", qnli, lengths, retrieval),
        "qnli mined": ("pairs", [row for row in harder if row["negative_2"]], lengths, retrieval),
        "qnli mined, all": ("pairs", harder, lengths, retrieval),
        "qnli four": ("pairs", qnli, {**lengths, "directions": "four"}, retrieval),
        "sapbert": ("sapbert", linking.rows, {"batch_size": 512}, linking),
        "nli": ("pairs", bare, short, retrieval),
        "nli negatives": ("pairs", nli, short, retrieval),
    }
    chosen = options.only or list(configurations)
    results: list[dict[str, Any]] = []

    def note(line: dict[str, Any]) -> None:
        results.append(line)
        print(json.dumps(line), flush=True)
        if options.json:
            about = {"facts": facts(), "budget": BUDGET, "results": results}
            options.json.write_text(json.dumps(about, indent=1) + "\n")

    for scorer in dict.fromkeys(configurations[name][3] for name in chosen):
        note({"what": "before", **scorer.score(start)})
    for seed in options.seeds:
        for name in chosen:
            recipe, rows, settings, scorer = configurations[name]
            began = time.perf_counter()
            encoder = train(recipe, options.model, rows, seed, **settings)
            seconds = time.perf_counter() - began
            note({"what": name, "seed": seed, **scorer.score(encoder), "seconds": round(seconds)})


if __name__ == "__main__":
    main()
