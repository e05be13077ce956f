"""The seven STS sets from texts to scores: textcl against a loop over sentence-transformers' evaluator.

Their loop makes an EmbeddingSimilarityEvaluator for each set and encodes its sentences as they come; textcl encodes
each distinct sentence of all sets once, packed. `textcl eval` uses float32 unless told otherwise; both precisions are
measured. Models are loaded before the clock starts.

    TEXTCL_DATA=… python eval/bench/sts_suite.py --share 8 --pairs 5 --output eval/results/…
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import facts
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

from textcl.encoder.encoder import Encoder
from textcl.encoder.hub import find_model
from textcl.evaluation.benchmarks import EncodeWith, evaluate
from textcl.evaluation.tasks import StsTask, load_task, task_names

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
LOWEST, HIGHEST = 0, 5


def part(task: StsTask, share: int) -> StsTask:
    """Every so many pairs of a task."""
    if share == 1:
        return task
    return replace(
        task,
        sentences1=task.sentences1[::share],
        sentences2=task.sentences2[::share],
        scores=task.scores[::share],
        subsets=None,
        manifest=None,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=5, help="rounds")
    parser.add_argument(
        "--share", type=int, default=1, help="take one of so many pairs of each set"
    )
    parser.add_argument("--openvino", action="store_true", help="also measure --backend openvino")
    parser.add_argument("--output", type=Path, help="folder for sts_suite.json")
    options = parser.parse_args()
    tasks = [part(load_task(name), options.share) for name in task_names(["sts"])]
    encoder = Encoder.from_pretrained(MODEL, device="cpu")
    model = SentenceTransformer(str(find_model(MODEL)), device="cpu")

    def theirs() -> dict[str, float]:
        found = {}
        for task in tasks:
            gold = ((task.scores - LOWEST) / (HIGHEST - LOWEST)).tolist()
            judge = EmbeddingSimilarityEvaluator(
                list(task.sentences1), list(task.sentences2), gold,
                name=task.name, write_csv=False,
            )  # fmt: skip
            found[task.name] = 100 * judge(model)[f"{task.name}_spearman_cosine"]
        return found

    def ours(model, precision: str | None):
        def work() -> dict[str, float]:
            scores = evaluate(EncodeWith(model, precision=precision), tasks)
            found = {task.name: scores[task.name] for task in tasks}
            return {name: math.nan if score is None else score for name, score in found.items()}

        return work

    ways = {
        "textcl float32": ours(encoder, "float32"),
        "textcl bfloat16": ours(encoder, "bfloat16"),
        "sentence-transformers": theirs,
    }
    if options.openvino:
        from textcl.export.load import load_encoder

        ways["textcl openvino"] = ours(load_encoder(MODEL, "openvino"), None)
    seconds, scores = measure(ways, options.pairs)
    save(options, tasks, seconds, scores)


def measure(ways: dict[str, Any], rounds: int) -> tuple[dict[str, Any], dict[str, Any]]:
    seconds, scores, names = {name: [] for name in ways}, {}, list(ways)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.perf_counter()
            scores[name] = ways[name]()
            seconds[name].append(time.perf_counter() - start)
        print(turn, {name: round(times[-1], 2) for name, times in seconds.items()}, flush=True)
    return seconds, scores


def save(options, tasks, seconds, scores) -> None:
    base = "sentence-transformers"
    sentences = [t for task in tasks for t in (*task.sentences1, *task.sentences2)]
    ratios = {
        name: [round(b / a, 2) for a, b in zip(times, seconds[base], strict=True)]
        for name, times in seconds.items()
        if name != base
    }
    result = {
        "benchmark": "seven STS sets, texts to scores, all-MiniLM-L6-v2",
        "share": options.share,
        "pairs": sum(len(task.scores) for task in tasks),
        "sentences": len(sentences),
        "distinct": len(set(sentences)),
        "ratios": {k: {"median": statistics.median(v), "all": v} for k, v in ratios.items()},
        "largest_score_difference": {
            name: round(max(abs(mine[t] - scores[base][t]) for t in mine), 4)
            for name, mine in scores.items()
        },
        "scores": {name: {t: round(v, 3) for t, v in s.items()} for name, s in scores.items()},
        "seconds": {name: [round(t, 2) for t in times] for name, times in seconds.items()},
        **facts(),
    }
    print(json.dumps({k: result[k] for k in ("ratios", "largest_score_difference")}, indent=1))
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "sts_suite.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
