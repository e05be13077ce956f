"""Made-up rows, and the plain arithmetic that slow loops are written in."""

from __future__ import annotations

import math

import torch

from textcl.types import Embeddings


def rows(n, names=("anchor", "positive"), labels=None, seed=0, dim=5):
    """n rows in float64, the first of them the same for every n."""
    g = torch.Generator().manual_seed(seed)
    table = torch.randn((64, len(names), dim), generator=g, dtype=torch.float64)
    vectors = {name: table[:n, k] for k, name in enumerate(names)}
    return Embeddings.of(labels=None if labels is None else torch.tensor(labels)[:n], **vectors)


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def log_sum_exp(values):
    return math.log(sum(math.exp(x) for x in values))
