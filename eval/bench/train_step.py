"""A training step: textcl against sentence-transformers' trainer, its own padded path, or itself compiled.

The same model (all-MiniLM-L6-v2, 6 layers), sentences, batch, length, dropout, optimizer and objective
(MultipleNegativesRankingLoss there). Both train with the precision that is faster for them. Time is counted from the
end of the third update to the end of the last. On a machine that others use too, `--clock cpu` with
OMP_NUM_THREADS=1 counts the processor time of the process instead. Every measurement is a process of its own, so that
neither finds the memory or the kernels of the other. Tokens are real ones, of both views; the share of the ceiling
counts the linear layers, forward and backward, against the fastest product of bfloat16 matrices measured here.

python eval/bench/train_step.py --data sentences.txt [--against padded|compiled] [--pairs 5] [--steps 13] [--clock cpu]
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import resource
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch
from common import ceiling, in_pairs, report
from rich.console import Console
from transformers import PreTrainedModel

import textcl.training.session
from textcl.encoder.encoder import Encoder
from textcl.encoder.hub import find_model
from textcl.encoder.packing import buckets as bucketed_attention
from textcl.encoder.packing import hidden_states
from textcl.encoder.packing import padded as padding
from textcl.method.hooks import Hook
from textcl.training.session import train

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
LAYERS, WIDTH = 6, 384
SKIP = 3


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


class Clock(Hook):
    """Notes when each update ended."""

    now = staticmethod(time.perf_counter)

    def __init__(self) -> None:
        self.times: list[float] = []

    def after_update(self, step: int) -> None:
        self.times.append(self.now())

    def seconds(self) -> float:
        return self.times[-1] - self.times[SKIP - 1]


@contextmanager
def watched(clock: Hook, prepare: Callable[[PreTrainedModel], None]) -> Generator[None]:
    """Runs of a training are prepared and timed."""
    loop = textcl.training.session.run_loop

    def with_clock(method, *args, **kwargs):
        prepare(method.encoders["online"].backbone)
        object.__setattr__(method, "hooks", [*method.hooks, clock])
        return loop(method, *args, **kwargs)

    with mock.patch.object(textcl.training.session, "run_loop", with_clock):
        yield


def ours(
    data: Path,
    batch: int,
    length: int,
    steps: int,
    prepare: Callable[[PreTrainedModel], None] = lambda _: None,
) -> float:
    settings = {
        "batch_size": batch,
        "max_length": length,
        "steps": steps,
        "learning_rate": 2e-5,
        "pooling": "mean",
        "head": "none",
        "save_every": 0,
        "num_layers": None,
    }
    with tempfile.TemporaryDirectory() as folder, watched(clock := Clock(), prepare):
        train(
            "unsup-simcse",
            model=MODEL,
            data=str(data),
            dev="",
            output=f"{folder}/run",
            settings=settings,
            console=Console(file=io.StringIO()),
        )
    return clock.seconds()


def padded(data: Path, batch: int, length: int, steps: int) -> float:
    """Ours with every batch padded to its longest row, through the model's own attention."""
    with (
        mock.patch.object(hidden_states, "is_packed", return_value=False),
        mock.patch.object(padding, "padded_batches", lambda lengths, smallest: [(0, len(lengths))]),
    ):
        return ours(data, batch, length, steps)


def compiled(data: Path, batch: int, length: int, steps: int) -> float:
    """Ours with every layer compiled; its time for compiling falls into the updates that are not counted."""
    return ours(data, batch, length, steps, compile_layers)


def compile_layers(backbone: PreTrainedModel, backend: str = "inductor") -> None:
    """`torch.compile` for sizes that vary; the attention on a CPU stays as it is, for its draws cannot be traced."""
    bucketed_attention.attend = torch.compiler.disable(bucketed_attention.attend)
    for layer in backbone.get_submodule("encoder.layer").children():
        layer.compile(dynamic=True, backend=backend)


def theirs(data: Path, batch: int, length: int, steps: int, bf16: bool) -> float:
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from transformers import TrainerCallback

    clock = Clock()

    class Ticks(TrainerCallback):
        def on_step_end(self, *_args, **_kwargs) -> None:
            clock.after_update(0)

    lines = data.read_text(encoding="utf-8").splitlines()
    model = SentenceTransformer(str(find_model(MODEL)), device="cpu")
    model.max_seq_length = length
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=batch,
            max_steps=steps,
            learning_rate=2e-5,
            bf16=bf16,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            dataloader_drop_last=True,
        )
        trainer = SentenceTransformerTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_dict({"anchor": lines, "positive": lines}),
            loss=MultipleNegativesRankingLoss(model),
            callbacks=[Ticks()],
        )
        trainer.train()
    return clock.seconds()


def apart(peaks: dict[str, list[float]], clock: str, work: Callable[..., float], *args) -> float:
    """Seconds of a measurement in a new process; its peak memory is noted."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        seconds, peak = pool.submit(measured, clock, work, *args).result()
    peaks.setdefault(work.__name__, []).append(peak)
    return seconds


def measured(clock: str, work: Callable[..., float], *args) -> tuple[float, float]:
    warnings.filterwarnings("ignore")
    Clock.now = staticmethod(CLOCKS[clock])
    seconds = work(*args)
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def tokens_of(data: Path, length: int) -> float:
    """Mean tokens of a row."""
    encoder = Encoder.from_pretrained(MODEL, max_length=length, device="cpu")
    return float(encoder.tokenize(data.read_text("utf-8").splitlines()).lengths.double().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=13)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument(
        "--against",
        choices=["sentence-transformers", "padded", "compiled"],
        default="sentence-transformers",
    )
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    work = (options.data, options.batch, options.length, options.steps)
    more: dict[str, object] = {"clock": options.clock}
    peaks: dict[str, list[float]] = {}

    def run(measurement: Callable[..., float], *args: object) -> float:
        return apart(peaks, options.clock, measurement, *args)

    if options.against != "sentence-transformers":
        way = {"padded": padded, "compiled": compiled}[options.against]
        other, rival = f"textcl_{options.against}", lambda: run(way, *work)
    else:
        single, half = run(theirs, *work, False), run(theirs, *work, True)
        other, rival = "sentence_transformers", lambda: run(theirs, *work, half < single)
        more |= {
            "their_precision": "bf16" if half < single else "float32",
            "their_bf16_over_float32": round(half / single, 2),
        }
    pairs = in_pairs(lambda: run(ours, *work), rival, options.pairs)
    rows = options.batch * (options.steps - SKIP)
    tokens, limit = 2 * rows * tokens_of(options.data, options.length), ceiling(torch.bfloat16)
    for name, seconds in zip(("textcl", other), map(statistics.median, pairs), strict=True):
        flops = 6 * 12 * LAYERS * WIDTH**2 * tokens
        more[f"{name}_tokens_per_s"] = round(tokens / seconds)
        more[f"{name}_share_of_ceiling"] = round(flops / seconds / limit, 3)
    report(
        f"training step, all-MiniLM-L6-v2, batch {options.batch}, length {options.length}",
        *pairs,
        rows,
        "rows",
        other=other,
        peak_mib={name: round(max(found)) for name, found in peaks.items()},
        bf16_gflops=round(limit / 1e9),
        **more,
    )


if __name__ == "__main__":
    main()
