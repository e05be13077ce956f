"""Parts of a training step of a GPU benchmark: its launches, the work of the card, and the effect of graphs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from gpu_training import DeviceClock, Size, our_training
from torch.profiler import ProfilerActivity, profile
from train_step import SKIP

from textcl.method.graphs import Graphs

_WATCHED = 4  # steps under the profiler


def with_and_without_graphs(model: Path, data: Path, size: Size) -> Iterator[dict[str, Any]]:
    """Milliseconds of a step with and without graphs, how many were repeated, and why not where they were not."""
    for batch in size.batches:
        reasons, repeated, repeat = list[str](), list[object](), Graphs._repeated

        def counted(
            self: Graphs, *step: Any, repeated: list[object] = repeated, repeat: Any = repeat
        ) -> Any:
            repeated.append(step)
            return repeat(self, *step)

        plain = our_training(model, data, batch, size)
        with (
            mock.patch.object(
                Graphs, "_report", lambda _, why, reasons=reasons: reasons.append(why)
            ),
            mock.patch.object(Graphs, "_repeated", counted),
        ):
            # beyond the updates in which sizes are compared and recorded
            longer = replace(size, steps=4 * size.steps)
            clock = LateClock(longer.steps, size.steps)
            late = our_training(model, data, batch, longer, clock=clock, graphs=True)
        each = [1000 * seconds / (size.steps - SKIP) for seconds in (plain, late)]
        yield {
            "batch": batch,
            "ms_per_step": round(each[0], 2),
            "ms_per_step_with_graphs": round(each[1], 2),
            "ratio": round(each[0] / each[1], 3),
            "updates": longer.steps,
            "repeated": len(repeated),
            "not_repeated": reasons,
        }  # fmt: skip


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


def work_of_a_step(model: Path, data: Path, size: Size) -> Iterator[dict[str, Any]]:
    """A step without graphs: its time, the card's share of it, launches, copies and waits, and the longest kernels."""
    for batch in size.batches:
        clock = ProfilingClock(size.steps)
        our_training(model, data, batch, size, clock=clock)
        events = clock.profile.events() or []
        names = [event.name for event in events]
        on_card = [e for e in events if e.device_type.name == "CUDA" and not e.is_user_annotation]
        kernels: defaultdict[str, float] = defaultdict(float)
        for event in on_card:
            kernels[event.name[:70]] += event.time_range.elapsed_us() / 1000 / clock.watched
        longest = sorted(kernels, key=lambda name: -kernels[name])[:12]
        step_ms, card_ms = 1000 * clock.seconds() / clock.counted, sum(kernels.values())
        yield {
            "batch": batch,
            "ms_per_step": round(step_ms, 2),
            "card_ms_per_step": round(card_ms, 2),
            "idle_share": round(1 - card_ms / step_ms, 3),
            **{
                kind: round(sum(part in name for name in names) / clock.watched, 1)
                for kind, part in (
                    ("operators", "aten::"),
                    ("launches", "LaunchKernel"),
                    ("copies", "cudaMemcpyAsync"),
                    ("waits", "Synchronize"),
                )
            },
            "kernels_ms": {name: round(kernels[name], 3) for name in longest},
        }  # fmt: skip


class ProfilingClock(DeviceClock):
    """Counts the updates behind the first ones, and profiles a few behind these."""

    def __init__(self, steps: int) -> None:
        super().__init__(steps)
        self.watched = min(_WATCHED, steps - SKIP - 1)
        self.counted = steps - SKIP - self.watched
        kinds = [ProfilerActivity.CPU, ProfilerActivity.CUDA]
        self.profile = profile(
            activities=[k for k in kinds if k in torch.profiler.supported_activities()]
        )

    def after_update(self, step: int) -> None:
        last = SKIP + self.counted
        if torch.cuda.is_available() and step in (SKIP, last, self.steps):
            torch.cuda.synchronize()
        self.times.append(self.now())
        if step == last:
            self.profile.start()
        elif step == self.steps:
            self.profile.stop()

    def seconds(self) -> float:
        return self.times[SKIP + self.counted - 1] - self.times[SKIP - 1]
