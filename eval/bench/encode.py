r"""Encoding sentences of STS12–16: textcl against sentence-transformers with its best settings, on the CPU.

Every way is a process of its own; they take turns, each round in another order, so that a slow minute of the machine
hits all alike. Ratios are those of one round, and their median over the rounds is told.

    TEXTCL_DATA=… python eval/bench/encode.py --limit 2000 --output eval/results/…
    TEXTCL_DATA=… python eval/bench/encode.py --their-python VENV/bin/python \
        --only "textcl openvino" "theirs openvino"

sentence-transformers' OpenVINO backend needs older libraries than textcl: --their-python names the Python of an
environment of its own (pip install "sentence-transformers[openvino]" nncf "datasets<5").
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import ceiling, facts

from textcl.encoder.encoder import Encoder
from textcl.encoder.hub import find_model
from textcl.evaluation.correlation import pair_scores, sts_aggregate
from textcl.evaluation.tasks import load_task
from textcl.export.write import sample_sentences

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
THEIR_ROWS = 128  # sentences that their quantisation is fitted to; what it takes of a longer list
WAYS = {
    "textcl float32": ("textcl", {"precision": "float32"}),
    "textcl": ("textcl", {}),
    "textcl compiled": ("textcl-compile", {}),
    "textcl openvino": ("textcl-export", {"backend": "openvino"}),
    "textcl openvino int8": ("textcl-export", {"backend": "openvino", "int8": True}),
    "textcl onnx": ("textcl-export", {"backend": "onnx"}),
    "textcl onnx int8": ("textcl-export", {"backend": "onnx", "int8": True}),
    "theirs": ("sentence-transformers", {}),
    "theirs tuned": ("sentence-transformers", {"precision": "bfloat16", "tune": True}),
    "theirs openvino": ("sentence-transformers", {"backend": "openvino", "tune": True}),
    "theirs openvino int8": (
        "sentence-transformers",
        {"backend": "openvino", "int8": True, "tune": True},
    ),
}
RATIOS = (
    ("textcl", "theirs"),
    ("textcl", "theirs tuned"),
    ("textcl", "theirs openvino"),
    ("textcl openvino", "theirs"),
    ("textcl openvino", "theirs openvino"),
    ("textcl openvino int8", "theirs"),
    ("textcl openvino int8", "theirs openvino int8"),
    ("textcl", "textcl compiled"),
    ("textcl float32", "theirs"),
)


class Worker:
    """A process that encodes when it is its turn."""

    def __init__(self, name: str, python: str, common: dict[str, Any]) -> None:
        kind, options = WAYS[name]
        given = {
            "kind": kind, "options": options, **common,
            "folder": f"{common['folder']}/{name.replace(' ', '-')}",
        }  # fmt: skip
        script = Path(__file__).with_name("encode_worker.py")
        self.process = subprocess.Popen(
            [python, script, json.dumps(given)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.orders, self.answers = self.process.stdin, self.process.stdout
        self.about = self._answer(name)

    def _answer(self, name: str) -> dict[str, Any]:
        line = self.answers.readline()
        if not line:
            raise SystemExit(f"{name} failed: run encode_worker.py by hand to see why")
        return json.loads(line)

    def encode(self, texts: Path, save: Path | None = None) -> dict[str, Any]:
        order = {"texts": str(texts), "save": save and str(save)}
        self.orders.write(json.dumps(order) + "\n")
        self.orders.flush()
        return self._answer("a worker")

    def close(self) -> None:
        self.orders.close()
        self.process.wait()


def main() -> None:
    options = parse()
    tasks = [load_task(f"STS{year}") for year in range(12, 17)]
    texts = list(dict.fromkeys(t for k in tasks for t in (*k.sentences1, *k.sentences2)))
    texts = texts[:: max(1, len(texts) // options.limit)][: options.limit]
    tokens = int(Encoder.from_pretrained(MODEL, device="cpu").tokenize(texts).lengths.sum())
    names = options.only or list(WAYS)
    if options.their_python is None:
        names = [name for name in names if not name.startswith("theirs openvino")]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        files = {
            "texts": texts,
            "sample": texts[::4],
            "calibration": sample_sentences()[:THEIR_ROWS],
        }
        for name, rows in files.items():
            (place / f"{name}.json").write_text(json.dumps(rows))
        common = {
            "model": str(find_model(MODEL)), "folder": folder,
            "sample": str(place / "sample.json"), "calibration": str(place / "calibration.json"),
        }  # fmt: skip
        workers = {}
        for name in names:
            own = options.their_python if name.startswith("theirs openvino") else None
            workers[name] = Worker(name, own or sys.executable, common)
            print("ready:", name, workers[name].about["settings"], flush=True)
        quality, seconds, peaks = {}, {}, {}
        if options.scores:
            quality = scored(workers, place)
        else:
            seconds, peaks = rounds(workers, place / "texts.json", options.pairs)
        about = {name: worker.about for name, worker in workers.items()}
        for worker in workers.values():
            worker.close()
    if options.scores:
        save(options.output, "encode_scores.json", {"ways": quality, **facts()})
    else:
        save(options.output, "encode.json", summary(seconds, peaks, about, texts, tokens))


def save(folder: Path | None, name: str, result: dict[str, Any]) -> None:
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(result, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=5, help="rounds")
    parser.add_argument("--limit", type=int, default=2000, help="sentences, spread over the tasks")
    parser.add_argument("--their-python", help="Python of an environment with their OpenVINO")
    parser.add_argument(
        "--scores", action="store_true", help="STS-B and cosines of every way instead of times"
    )
    parser.add_argument("--only", nargs="*", choices=WAYS, help="ways; all when not given")
    parser.add_argument("--output", type=Path, help="folder for the JSON files")
    return parser.parse_args()


def rounds(
    workers: dict[str, Any], texts: Path, count: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Seconds of every way in every round, after one that is not counted, and peak memory."""
    seconds, peaks, names = {name: [] for name in workers}, {}, list(workers)
    for turn in range(count + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            answer = workers[name].encode(texts)
            peaks[name] = answer["peak_mib"]
            if turn:
                seconds[name].append(answer["seconds"])
        print(f"round {turn} of {count}", flush=True)
    return seconds, peaks


def scored(workers: dict[str, Any], place: Path) -> dict[str, Any]:
    """STS-B by every way, and how far its vectors are from float32."""
    result, exact = {}, None
    tasks = {name: load_task(name) for name in ("STSBenchmark-dev", "STSBenchmark")}
    rows = [t for task in tasks.values() for t in (*task.sentences1, *task.sentences2)]
    (place / "pairs.json").write_text(json.dumps(rows))
    reference = Encoder.from_pretrained(MODEL, device="cpu").encode(rows, precision="float32")
    exact = reference / np.linalg.norm(reference, axis=1, keepdims=True)
    for name, worker in workers.items():
        worker.encode(place / "pairs.json", place / "vectors.npy")
        vectors = np.load(place / "vectors.npy")
        cosine = (vectors * exact).sum(1) / np.linalg.norm(vectors, axis=1)
        result[name] = {
            "lowest_cosine": float(cosine.min()),
            "median_cosine": float(np.median(cosine)),
        }
        start = 0
        for key, task in tasks.items():
            n = len(task.sentences1)
            first, second = vectors[start : start + n], vectors[start + n : start + 2 * n]
            found = sts_aggregate(pair_scores(first, second), task.scores, None).all.spearman
            result[name][key] = None if found is None else round(100 * found, 2)
            start += 2 * n
        print("scored:", name, result[name], flush=True)
    return result


def summary(seconds, peaks, about, texts, tokens) -> dict[str, Any]:
    layers, width = 6, 384
    work = 2 * 12 * layers * width**2  # multiply-adds of a token in the linear layers, times two
    limit = {
        name: ceiling(dtype)
        for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
    }
    ways = {}
    for name, times in seconds.items():
        median = statistics.median(times)
        ways[name] = {
            "sentences_per_s": round(len(texts) / median, 1),
            "tokens_per_s": round(tokens / median),
            "share_of_bf16_ceiling": round(work * tokens / median / limit["bfloat16"], 3),
            "peak_mib": round(peaks[name]),
            "seconds": [round(t, 3) for t in times],
            **about[name],
        }
    ratios = {
        f"{ours} / {other}": [
            round(b / a, 3) for a, b in zip(seconds[ours], seconds[other], strict=True)
        ]
        for ours, other in RATIOS
        if ours in seconds and other in seconds
    }
    result = {
        "benchmark": "encode, distinct sentences of STS12-16, all-MiniLM-L6-v2",
        "sentences": len(texts),
        "tokens": tokens,
        "ceiling_gflops": {name: round(value / 1e9) for name, value in limit.items()},
        "ratios": {
            name: {"median": round(statistics.median(v), 2), "all": v} for name, v in ratios.items()
        },
        "ways": ways,
        **facts(),
    }
    print(json.dumps(result["ratios"], indent=1))
    for name, way in ways.items():
        print(
            f"{name:22}{way['sentences_per_s']:9.1f} sentences/s  {way['tokens_per_s']:8,} tokens/s"
        )
    return result


if __name__ == "__main__":
    main()
