"""Parts of a training step of a GPU benchmark: its launches, the work of the card, and the effect of graphs."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from common import now
from gpu_training import DeviceClock, Size, our_training
from torch.profiler import ProfilerActivity, profile
from train_step import SKIP

from textcl.encoder.encoder import Encoder
from textcl.method.graphs import Graphs
from textcl.transfer import to_device

_WATCHED = 4  # steps under the profiler
_BUDGETS = (2_048, 16_384, 65_536, 131_072)


def with_and_without_graphs(model: Path, data: Path, size: Size) -> list[dict[str, Any]]:
    """Milliseconds of a step with and without graphs, and why there were none where there were none."""
    rows: list[dict[str, Any]] = []
    for batch in size.batches:
        reasons: list[str] = []
        plain = our_training(model, data, batch, size)
        with mock.patch.object(
            Graphs, "_report", lambda _, why, reasons=reasons: reasons.append(why)
        ):
            # beyond the updates in which sizes are compared and recorded
            longer = replace(size, steps=4 * size.steps)
            clock = LateClock(longer.steps, size.steps)
            repeated = our_training(model, data, batch, longer, clock=clock, graphs=True)
        each = [1000 * seconds / (size.steps - SKIP) for seconds in (plain, repeated)]
        rows.append({
            "batch": batch,
            "ms_per_step": round(each[0], 2),
            "ms_per_step_with_graphs": round(each[1], 2),
            "ratio": round(each[0] / each[1], 3),
            "not_repeated": reasons,
        })  # fmt: skip
    return rows


class LateClock(DeviceClock):
    """Counts the last updates of a run, as many as a `DeviceClock` counts of a short one."""

    def __init__(self, steps: int, counted: int) -> None:
        super().__init__(steps)
        self.first = steps - counted + SKIP

    def after_update(self, step: int) -> None:
        if torch.cuda.is_available() and step in (self.first, self.steps):
            torch.cuda.synchronize()
        self.times.append(self.now())

    def seconds(self) -> float:
        return self.times[-1] - self.times[self.first - 1]


def work_of_a_step(model: Path, data: Path, size: Size) -> list[dict[str, Any]]:
    """Launches, copies and waits of a step, and how long the card works for it, without graphs."""
    rows: list[dict[str, Any]] = []
    for batch in size.batches:
        clock = ProfilingClock(size.steps)
        our_training(model, data, batch, size, clock=clock)
        events = clock.profile.events() or []
        names = [event.name for event in events]
        on_card = [e for e in events if e.device_type.name == "CUDA" and not e.is_user_annotation]
        card_us = sum(e.time_range.elapsed_us() for e in on_card)
        rows.append({
            "batch": batch,
            "card_ms_per_step": round(card_us / 1000 / _WATCHED, 2),
            **{
                kind: round(sum(part in name for name in names) / _WATCHED, 1)
                for kind, part in (
                    ("operators", "aten::"),
                    ("launches", "LaunchKernel"),
                    ("copies", "cudaMemcpyAsync"),
                    ("waits", "Synchronize"),
                )
            },
        })  # fmt: skip
    return rows


class ProfilingClock(DeviceClock):
    """Profiles a few updates behind the first ones."""

    def __init__(self, steps: int) -> None:
        super().__init__(steps)
        kinds = [ProfilerActivity.CPU, ProfilerActivity.CUDA]
        self.profile = profile(
            activities=[k for k in kinds if k in torch.profiler.supported_activities()]
        )

    def after_update(self, step: int) -> None:
        super().after_update(step)
        last = min(self.steps, SKIP + _WATCHED)
        if step == last - _WATCHED:
            self.profile.start()
        elif step == last:
            self.profile.stop()


def forward(model: Path, data: Path, size: Size, device: str) -> list[dict[str, Any]]:
    """Tokens a second of the forward pass, in bfloat16, of tokens that lie on the device with all of their indices."""
    encoder = Encoder.from_pretrained(model, device=device, max_length=128).bfloat16()
    texts = list(itertools.islice(data.open(encoding="utf-8"), 20_000))
    tokens = encoder.tokenize(texts)
    rows: list[dict[str, Any]] = []
    for budget in _BUDGETS if device == "cuda" else (512,):
        count = int((tokens.lengths.cumsum(0) <= budget).sum())
        if count == len(tokens):
            break
        batch = to_device(encoder.plan(tokens.rows(0, count)), encoder.device)
        with torch.inference_mode():
            encoder.embed(batch)
            start, times = now(device), 20 if device == "cuda" else 1
            for _ in range(times):
                encoder.embed(batch)
            seconds = (now(device) - start) / times
        rows.append({"tokens": len(batch.ids), "tokens_per_s": round(len(batch.ids) / seconds)})
    return rows
