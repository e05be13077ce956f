"""textcl on a GPU, in one command of at most six minutes: its tests, training steps, encoding, and InfoNCE.

The tests train every recipe, look for host waits, and check determinism, memory and graphs; "training" compares steps,
"graphs" those with graphs and without, "step" counts launches and the card's own work, "forward" times tokens that are
on the card already.

A randomly initialised model of the shape of BERT-base on a million made-up sentences (or --data), bfloat16, beside
sentence-transformers. Parts are run one after another and fail alone: what one measured is written before the next
begins, an error is written in its place, and what did not fit into the time is said to be missing.

    python eval/bench/gpu.py --output eval/results/…
    python eval/bench/gpu.py --only tests encode
    python eval/bench/gpu.py --toy        # the same path in a minute on a CPU, at a size that measures nothing
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import ceiling, facts, now
from gpu_steps import forward, with_and_without_graphs, work_of_a_step
from gpu_training import TOY, Size, training
from transformers import BertConfig, BertModel

from textcl.encoder.encoder import Encoder
from textcl.encoder.hub import find_model
from textcl.encoder.packing import card
from textcl.export.write import sample_sentences

KINDS = ("whole", "tiled", "cached")  # of InfoNCE; the last is that of sentence-transformers
TOKENIZER = "sentence-transformers/all-MiniLM-L6-v2"  # the vocabulary of bert-base-uncased


PARTS = ("tests", "training", "graphs", "step", "forward", "encode", "info_nce")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to run")
    parser.add_argument("--data", type=Path, help="a sentence a line, in place of made-up ones")
    parser.add_argument("--output", type=Path, help="folder for gpu.json")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not options.toy:
        raise SystemExit("expected a CUDA device and found none: --toy tries the script on a CPU")
    warnings.filterwarnings("ignore")
    size, start = TOY if options.toy else Size(), time.perf_counter()
    result = {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "toy": options.toy,
        "sentences": size.sentences,
        "bf16_ceiling_tflops": round(ceiling(torch.bfloat16, device, size.shapes) / 1e12, 3),
        **facts(),
    }
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or made_up(Path(folder), size.sentences)
        model = save_model(Path(folder) / "model", size)
        parts: dict[str, Callable[[], object]] = {
            "tests": lambda: gpu_tests(device),
            "training": lambda: training(model, data, size, result),
            "graphs": lambda: with_and_without_graphs(model, data, size),
            "step": lambda: work_of_a_step(model, data, size),
            "forward": lambda: forward(model, data, size, device),
            "encode": lambda: encoding(model, data, size, device),
            "info_nce": lambda: info_nce(size, start),
        }
        for name in options.only:
            spent = (time.perf_counter() - start) / 60
            try:
                result[name] = parts[name]() if spent < size.minutes else "no time left"
            except Exception:  # the parts behind it are measured all the same
                result[name] = {"failed": traceback.format_exc()[-2000:]}
            print(name, json.dumps(result[name], indent=1), flush=True)
            if options.output:
                options.output.mkdir(parents=True, exist_ok=True)
                (options.output / "gpu.json").write_text(json.dumps(result, indent=1) + "\n")
    result["minutes"] = round((time.perf_counter() - start) / 60, 2)
    print(f"{result['minutes']} minutes")


def gpu_tests(device: str) -> dict[str, Any]:
    """The last lines of `pytest -m gpu`, and whether all passed."""
    if device == "cpu":
        return {"missing": "no GPU"}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "--tb=short", "tests"]
    root = Path(__file__).parents[2]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=150)
    return {"passed": ended.returncode == 0, "end": ended.stdout.splitlines()[-30:]}


def made_up(folder: Path, count: int) -> Path:
    """Distinct sentences of 4 to 30 words that are drawn from those of the sample."""
    words = [word for text in sample_sentences() for word in text.split()]
    draw = random.Random(0)
    path = folder / "sentences.txt"
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            length = min(30, 4 + int(draw.expovariate(1 / 8)))
            first = draw.randrange(len(words) - length)
            line = words[first : first + length]
            line[draw.randrange(length)] = draw.choice(words)
            file.write(" ".join(line) + "\n")
    return path


def save_model(folder: Path, size: Size) -> Path:
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=size.width, num_hidden_layers=size.layers, intermediate_size=4 * size.width,
        num_attention_heads=max(1, size.width // 64),
    )  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    Encoder.from_pretrained(find_model(TOKENIZER), device="cpu").tokenizer.save_pretrained(folder)
    return folder


def encoding(model: Path, data: Path, size: Size, device: str) -> list[dict[str, Any]]:
    """Texts to vectors on the CPU side, tokenising included, after a part of them that is not counted."""
    from sentence_transformers import SentenceTransformer

    lines = [line.strip() for line in data.open(encoding="utf-8")]
    ours = Encoder.from_pretrained(model, max_length=128)
    theirs = SentenceTransformer(str(model), model_kwargs={"dtype": torch.bfloat16})
    theirs.max_seq_length = 128
    some = lines[: max(50, len(lines) // 10)]
    tokens = len(ours.tokenize(some).ids) / len(some)

    def repadded(texts: list[str]) -> None:
        takes_packed = card.takes_packed
        card.takes_packed = lambda _: False
        try:
            ours.encode(texts, precision="bfloat16")
        finally:
            card.takes_packed = takes_packed

    results = []
    for name, count, run in (
        ("textcl", len(lines), lambda texts: ours.encode(texts, precision="bfloat16")),
        ("sentence-transformers", len(some), lambda texts: theirs.encode(texts, batch_size=512)),
        ("textcl, rows padded for the attention", len(some), repadded),
    ):
        run(some)
        start = now(device)
        run(lines[:count])
        seconds = now(device) - start
        results.append({
            "library": name,
            "sentences": count,
            "sentences_per_s": round(count / seconds),
            "tokens_per_s": round(count * tokens / seconds),
        })  # fmt: skip
    return results


def info_nce(size: Size, start: float) -> list[dict[str, Any]]:
    """Each measurement in a process of its own; a table that does not fit says so."""
    script, results = Path(__file__).with_name("info_nce_memory.py"), []
    for rows, kind in itertools.product(size.rows, KINDS):
        left = 60 * size.minutes - (time.perf_counter() - start)
        about = {"rows": rows, "width": size.width, "kind": kind}
        if left < 10:
            results.append({**about, "missing": "no time left"})
            continue
        command = [
            sys.executable,
            script,
            "--measure",
            kind,
            "--rows",
            str(rows),
            "--width",
            str(size.width),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=left)
        except subprocess.TimeoutExpired:
            results.append({**about, "missing": "took longer than the time left"})
            continue
        failed = done.returncode != 0
        why = (done.stderr.strip().splitlines() or ["killed"])[-1][:160]
        results.append({**about, "missing": why} if failed else json.loads(done.stdout))
    return results


if __name__ == "__main__":
    main()
