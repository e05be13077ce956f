"""Encoding on a card, from texts to vectors and from tokens to vectors, as parts of a benchmark."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import torch
from common import now
from gpu_training import Size
from train_step import compile_layers

from textcl.encoder.encoder import Encoder
from textcl.encoder.packing import card
from textcl.transfer import to_device

_BUDGETS = (2_048, 16_384, 65_536, 131_072)


def encoding(model: Path, data: Path, size: Size, device: str) -> Iterator[dict[str, object]]:
    """Texts to vectors in the host's memory, tokenising included; sentence-transformers on the first of the texts."""
    from sentence_transformers import SentenceTransformer

    lines = [line.strip() for line in data.open(encoding="utf-8")]
    ours = Encoder.from_pretrained(model, max_length=128)
    theirs = SentenceTransformer(str(model), model_kwargs={"dtype": torch.bfloat16})
    theirs.max_seq_length = 128
    few, some = lines[: max(10, len(lines) // 200)], lines[: max(50, len(lines) // 20)]
    tokens = len(ours.tokenize(some).ids) / len(some)

    def low(texts: list[str]) -> object:
        return ours.encode(texts, precision="bfloat16")

    def repadded(texts: list[str]) -> object:
        with mock.patch.object(card, "takes_packed", return_value=False):
            return low(texts)

    ways: list[tuple[str, list[str], Callable[[list[str]], object]]] = [
        ("textcl", lines, low),
        ("sentence-transformers, batches of 512", some, lambda x: theirs.encode(x, batch_size=512)),
        ("sentence-transformers, its default", some[: len(some) // 4], theirs.encode),
        ("textcl, the tokenizer alone", lines, ours.tokenize),
        ("textcl, float16 vectors", some, lambda x: ours.encode(x, precision="bfloat16", dtype="float16")),
        ("textcl, rows padded for the attention", some, repadded),
        ("textcl, float32", some, lambda x: ours.encode(x, precision="float32")),
    ]  # fmt: skip
    for name, texts, run in ways:
        run(few)
        start = now(device)
        run(texts)
        spent = now(device) - start
        yield {
            "library": name,
            "sentences": len(texts),
            "sentences_per_s": round(len(texts) / spent),
            "tokens_per_s": round(len(texts) * tokens / spent),
        }


def forward(model: Path, data: Path, size: Size, device: str) -> Iterator[dict[str, object]]:
    """Tokens a second of the forward pass, in bfloat16, of tokens that lie on the device with all of their indices."""
    encoder = Encoder.from_pretrained(model, device=device, max_length=128).bfloat16()
    texts = list(itertools.islice(data.open(encoding="utf-8"), 20_000))
    tokens = encoder.tokenize(texts)
    ends = tokens.lengths.cumsum(0)
    for layers in ("plain", "compiled") if device == "cuda" else ("plain",):
        if layers == "compiled":
            compile_layers(encoder.backbone, size.compiler)
        for budget in _BUDGETS if device == "cuda" else (512,):
            count = int((ends <= budget).sum())
            batch = to_device(encoder.plan(tokens.rows(0, count)), encoder.device)
            with torch.inference_mode():
                encoder.embed(batch)
                start, times = now(device), 20 if device == "cuda" else 1
                for _ in range(times):
                    encoder.embed(batch)
                spent = (now(device) - start) / times
            rate = round(len(batch.ids) / spent)
            yield {"layers": layers, "tokens": len(batch.ids), "tokens_per_s": rate}
