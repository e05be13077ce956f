"""Training steps of a GPU benchmark: textcl, sentence-transformers' trainer, a padded one, and textcl compiled."""

from __future__ import annotations

import io
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hf_trainer import train_padded
from rich.console import Console
from train_step import SKIP, Clock, compile_layers, watched
from transformers import PreTrainedModel

from textcl.encoder.encoder import Encoder
from textcl.encoder.packing import buckets as bucketed_attention
from textcl.training.session import train


@dataclass(frozen=True)
class Size:
    """Extent of a measurement; the shape is that of BERT-base unless it is a toy."""

    sentences: int = 400_000
    layers: int = 12
    width: int = 768
    batches: tuple[int, ...] = (64, 512)
    length: int = 32
    steps: int = 60
    rows: tuple[int, ...] = (16_384, 65_536, 262_144, 1_048_576)
    compiler: str = "inductor"


TOY = Size(200, 1, 32, (8,), 16, 5, (256,), "eager")


Way = Callable[[Path, Path, int, Size], float]


def training(model: Path, data: Path, size: Size) -> Iterator[dict[str, Any]]:
    """Unsupervised SimCSE: every sentence twice, so a row of the batch has its tokens counted twice."""
    ways: list[tuple[str, Way, Sequence[int]]] = [
        ("textcl", our_training, size.batches),
        ("sentence-transformers", their_training, size.batches),
        ("HuggingFace's trainer, padded", padded_training, size.batches[:1]),
        ("textcl, deterministic", partial(our_training, deterministic=True), size.batches[:1]),
    ]
    if torch.cuda.is_available():
        ways.append(("textcl, fp16", partial(our_training, precision="fp16"), size.batches[:1]))
    yield from measured(ways, model, data, size)


def compiled_training(model: Path, data: Path, size: Size) -> Iterator[dict[str, Any]]:
    """The same with compiled layers, which may take a minute to compile."""
    yield from measured(
        [("textcl compiled", our_compiled_training, size.batches)], model, data, size
    )


def measured(
    ways: Sequence[tuple[str, Way, Sequence[int]]], model: Path, data: Path, size: Size
) -> Iterator[dict[str, Any]]:
    """Milliseconds of a step, and what follows from them, of each way at each of its batches."""
    lines = list(itertools.islice(data.open(encoding="utf-8"), 20_000))
    tokens = Encoder.from_pretrained(model, device="cpu", max_length=size.length).tokenize(lines)
    per_row = 2 * len(tokens.ids) / len(lines)
    # forward and backward of a token, linear layers
    work = 3 * 2 * 12 * size.layers * size.width**2
    for name, run, batches in ways:
        for batch in batches:
            about = {"library": name, "batch": batch}
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            try:
                seconds = run(model, data, batch, size) / (size.steps - SKIP)
            except RuntimeError as error:  # a compiler that cannot, or memory
                yield {**about, "missing": str(error).splitlines()[0][:160]}
                continue
            rate = batch * per_row / seconds
            yield {
                **about,
                "ms_per_step": round(1000 * seconds, 2),
                "tokens_per_s": round(rate),
                "tflops": round(rate * work / 1e12, 4),
                "peak_mib": torch.cuda.max_memory_allocated() >> 20 if torch.cuda.is_available() else None,
                "seconds_per_million_sentences": round(1e6 / batch * seconds, 1),
            }  # fmt: skip


def our_compiled_training(model: Path, data: Path, batch: int, size: Size) -> float:
    attend = bucketed_attention.attend
    try:
        return our_training(
            model, data, batch, size, lambda backbone: compile_layers(backbone, size.compiler)
        )
    finally:
        bucketed_attention.attend = attend


def our_training(
    model: Path,
    data: Path,
    batch: int,
    size: Size,
    prepare: Callable[[PreTrainedModel], None] = lambda _: None,
    clock: Clock | None = None,
    **changed: object,
) -> float:
    clock = clock or DeviceClock(size.steps)
    settings = {
        "batch_size": batch, "max_length": size.length, "steps": size.steps, "pooling": "mean",
        "head": "none", "save_every": 0, **changed,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, watched(clock, prepare):
        train(
            "unsup-simcse", model=str(model), data=str(data), dev="", output=f"{folder}/run",
            settings=settings, console=Console(file=io.StringIO()),
        )  # fmt: skip
    return clock.seconds()


class DeviceClock(Clock):
    """Notes when updates ended; waits for the device only where the counting starts and where it ends."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def after_update(self, step: int) -> None:
        done = len(self.times) + 1
        if torch.cuda.is_available() and done in (SKIP, self.steps):
            torch.cuda.synchronize()
        super().after_update(step)


def their_training(model: Path, data: Path, batch: int, size: Size) -> float:
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from transformers import TrainerCallback

    clock = DeviceClock(size.steps)

    class Ticks(TrainerCallback):
        def on_step_end(self, *_args, **_kwargs) -> None:
            clock.after_update(0)

    lines = [
        line.strip() for line in itertools.islice(data.open(encoding="utf-8"), batch * size.steps)
    ]
    encoder = SentenceTransformer(str(model))
    encoder.max_seq_length = size.length
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder, per_device_train_batch_size=batch, max_steps=size.steps, bf16=True,
            use_cpu=not torch.cuda.is_available(), report_to=[], save_strategy="no",
            logging_strategy="no", disable_tqdm=True, dataloader_drop_last=True,
        )  # fmt: skip
        SentenceTransformerTrainer(
            model=encoder, args=arguments, loss=MultipleNegativesRankingLoss(encoder), callbacks=[Ticks()],
            train_dataset=Dataset.from_dict({"anchor": lines, "positive": lines}),
        ).train()  # fmt: skip
    return clock.seconds()


def padded_training(model: Path, data: Path, batch: int, size: Size) -> float:
    clock = DeviceClock(size.steps)
    lines = [
        line.strip() for line in itertools.islice(data.open(encoding="utf-8"), batch * size.steps)
    ]
    train_padded(
        model, lines, batch, length=size.length, steps=size.steps, after_update=clock.after_update
    )
    return clock.seconds()
