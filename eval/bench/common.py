"""Common parts of the benchmarks: pairs of measurements in one process, and the facts beside every ratio."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata

import torch

from textcl.versions import own_version


def facts() -> dict[str, object]:
    """Versions, threads and processor."""
    names = ("sentence-transformers", "torch", "transformers", "accelerate")
    return {
        "python": platform.python_version(),
        "textcl": own_version(),
        **{name: metadata.version(name) for name in names},
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "bf16_tiles": torch.cpu._is_amx_tile_supported(),
    }


def ceiling(dtype: torch.dtype, device: str = "cpu", count: int = 4) -> float:
    """Floating-point operations per second of the best of a few matrix products, those of BERT layers among them."""
    shapes = [(2048, 384, 1536), (2048, 1536, 384), (2048, 768, 3072), (4096, 4096, 4096)]
    if device == "cuda":
        shapes = [(65536, 768, 3072), (65536, 3072, 768), (8192, 8192, 8192)]
    best = 0.0
    for rows, inner, columns in shapes[:count]:
        a = torch.randn(rows, inner, device=device, dtype=dtype)
        b = torch.randn(columns, inner, device=device, dtype=dtype)
        for _ in range(4):
            start = now(device)
            with torch.inference_mode():
                torch.nn.functional.linear(a, b)
            best = max(best, 2 * rows * inner * columns / (now(device) - start))
    return best


def now(device: str = "cpu") -> float:
    """Seconds, when all that was started on the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def in_pairs(
    ours: Callable[[], float], theirs: Callable[[], float], pairs: int
) -> tuple[list[float], list[float]]:
    """Seconds of both, taken in turns so that a slow minute of the machine hits both alike."""
    left, right = [], []
    for pair in range(pairs):
        first, second = (ours, theirs) if pair % 2 == 0 else (theirs, ours)
        times = {first: first(), second: second()}
        left.append(times[ours])
        right.append(times[theirs])
    return left, right


def report(
    name: str,
    ours: list[float],
    theirs: list[float],
    work: float,
    unit: str,
    other: str = "sentence_transformers",
    **more,
) -> None:
    """Print one line of JSON: medians, and the median of the ratios of the pairs."""
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    result = {
        "benchmark": name,
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(r, 2) for r in ratios],
        f"textcl_{unit}_per_s": round(work / statistics.median(ours), 1),
        f"{other}_{unit}_per_s": round(work / statistics.median(theirs), 1),
        **more,
        **facts(),
    }
    print(json.dumps(result, indent=1))
