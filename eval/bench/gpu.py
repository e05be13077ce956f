"""textcl on a GPU, in one command of at most six minutes.

Parts, in this order, each within seconds of its own (`LIMITS`):

- tests: `pytest -m gpu`, in several processes: every recipe against a CPU, host waits of a step, determinism, memory,
  graphs, encoding.
- ceilings: bytes a second of a copy, floating-point operations of bfloat16 products.
- step: a training step under the profiler: launches, copies, waits, kernels by name, work and idle share of the card.
- training: steps of unsupervised SimCSE beside sentence-transformers' trainer and a padded one; also fp16 and
  deterministic.
- encode: texts to vectors, beside sentence-transformers at its default and at a large batch, and the tokenizer alone.
- forward: tokens that are on the card already, plain and with compiled layers.
- graphs: steps with and without graphs.
- attention: rows without padding against padded ones, forward and backward, with dropout.
- info_nce: the loss in tiles, whole, and as sentence-transformers caches it.
- compiled: training steps with compiled layers.

A randomly initialised model of the shape of BERT-base on made-up sentences (or --data), bfloat16. Parts run in a
process beside this one and fail alone: what a part measured is written before the next begins, an error stands behind
its rows, and what did not fit into its time is said to be missing.

    python eval/bench/gpu.py --output eval/results/…
    python eval/bench/gpu.py --only tests encode
    python eval/bench/gpu.py --toy        # the same path on a CPU, at a size that measures nothing
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from apart import Row, Worker
from common import facts
from gpu_attention import attention, ceilings
from gpu_encoding import encoding, forward
from gpu_loss import info_nce
from gpu_steps import with_and_without_graphs, work_of_a_step
from gpu_tests import gpu_tests
from gpu_training import TOY, Size, compiled_training, training
from transformers import BertConfig, BertModel

from textcl.encoder.encoder import Encoder
from textcl.encoder.hub import find_model
from textcl.export.write import sample_sentences

TOKENIZER = "sentence-transformers/all-MiniLM-L6-v2"  # the vocabulary of bert-base-uncased

LIMITS = {
    "tests": 90.0, "ceilings": 20.0, "step": 30.0, "training": 60.0, "encode": 50.0, "forward": 40.0, "graphs": 30.0,
    "attention": 15.0, "info_nce": 30.0, "compiled": 60.0,
}  # fmt: skip
MINUTES = 6.0

# deterministic=true asks for it before the first product in a process
ENVIRONMENT = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


@dataclass(frozen=True)
class Setup:
    """Model, data and sizes that the parts share."""

    model: Path
    data: Path
    size: Size
    device: str

    def parts(self) -> Mapping[str, Callable[[], Iterable[Row]]]:
        """The parts by name."""
        warnings.filterwarnings("ignore")
        model, data, size, device = self.model, self.data, self.size, self.device
        return {
            "tests": partial(gpu_tests, device, LIMITS["tests"] - 15),
            "ceilings": partial(ceilings, device),
            "step": partial(work_of_a_step, model, data, size),
            "training": partial(training, model, data, size),
            "encode": partial(encoding, model, data, size, device),
            "forward": partial(forward, model, data, size, device),
            "graphs": partial(with_and_without_graphs, model, data, size),
            "attention": partial(attention, device),
            "info_nce": partial(info_nce, size),
            "compiled": partial(compiled_training, model, data, size),
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--only", nargs="+", choices=LIMITS, default=list(LIMITS), help="parts")
    parser.add_argument("--data", type=Path, help="a sentence a line, in place of made-up ones")
    parser.add_argument("--output", type=Path, help="folder for gpu.json")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not options.toy:
        raise SystemExit("expected a CUDA device and found none: --toy tries the script on a CPU")
    warnings.filterwarnings("ignore")
    size, start = TOY if options.toy else Size(), time.perf_counter()
    result: dict[str, object] = {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "toy": options.toy,
        "sentences": size.sentences,
        **facts(),
    }
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or made_up(Path(folder), size.sentences)
        setup = Setup(save_model(Path(folder) / "model", size), data, size, device)
        worker = Worker(setup.parts, ENVIRONMENT)
        for name in options.only:
            began = time.perf_counter()
            left = 60 * MINUTES - (began - start)
            limit = left if options.toy else min(LIMITS[name], left)
            rows = worker.measure(name, limit) if left > 5 else [{"missing": "no time left"}]
            result[name] = rows
            print(f"{name}, {time.perf_counter() - began:.0f} s", *map(json.dumps, rows), sep="\n")
            if options.output:
                options.output.mkdir(parents=True, exist_ok=True)
                (options.output / "gpu.json").write_text(json.dumps(result, indent=1) + "\n")
        worker.close()
    print(f"{(time.perf_counter() - start) / 60:.1f} minutes")


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


if __name__ == "__main__":
    main()
