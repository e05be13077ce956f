"""A decoder on texts of mixed lengths: packed rows against padded ones, and an adapter's step against peft's.

A random Qwen3 of four layers and 256 columns, texts of 4 to 256 words whose lengths are log-normal (median 24). Three
comparisons, both sides in turns within one process and on one thread, float32:

step    forward and backward of 32 rows, packed against padded to the longest by transformers' own attention
encode  96 texts, textcl's `encode` against that of sentence-transformers, which sorts by length and pads 32 at a time
lora    an update of a LoRA of rank 16 by InfoNCE on 16 pairs, against peft under sentence-transformers

OMP_NUM_THREADS=1 python eval/bench/decoders.py [--pairs 5] [--clock cpu] [--output DIR]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from common import facts
from peft import LoraConfig
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

from textcl import AnchorPositive, Contrastive, Embeddings, Encoder
from textcl.encoder.packing.hidden_states import hidden_states
from textcl.encoder.packing.padded import padded_hidden_states
from textcl.types import Tokens

VOCABULARY, WIDTH, LAYERS, RANK = 8000, 256, 4, 16

Step = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--clock", choices=["cpu", "wall"], default="cpu")
    parser.add_argument("--output", type=Path, help="folder for decoders.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    with tempfile.TemporaryDirectory() as place:
        folder = make_model(Path(place) / "model")
        results: dict[str, object] = {}
        for name, sides in (("step", step), ("lora", lora), ("encode", encode)):
            results[name] = compare(*sides(folder), options.pairs, clock)
            print(name, json.dumps(results[name]), flush=True)
    found = {
        "benchmark": "a decoder, packed against padded and an adapter against peft's",
        "clock": options.clock,
        "results": results,
        **facts(),
    }
    print(json.dumps(found, indent=2))
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "decoders.json").write_text(json.dumps(found, indent=2) + "\n")


def make_model(folder: Path) -> Path:
    """A random decoder with a tokenizer of numbered words, as a folder of textcl."""
    words = {f"w{i}": i for i in range(3, VOCABULARY)} | {"<pad>": 0, "<unk>": 1, "</s>": 2}
    plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    plain.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", unk_token="<unk>", eos_token="</s>",
        model_max_length=512,
    )  # fmt: skip
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=4,
        num_key_value_heads=2, head_dim=64, intermediate_size=3 * WIDTH, pad_token_id=0,
        max_position_embeddings=512,
    )  # fmt: skip
    model = Qwen3Model(config).eval()
    Encoder(model, tokenizer, pooling="lasttoken").save_pretrained(folder)
    return folder


def texts(count: int, seed: int) -> list[str]:
    """Texts of mixed lengths."""
    draw = np.random.default_rng(seed)
    lengths = np.clip(draw.lognormal(np.log(24), 0.8, count), 4, 256).astype(int)
    return [" ".join(f"w{i}" for i in draw.integers(3, VOCABULARY, n)) for n in lengths]


def step(folder: Path) -> tuple[Step, Step, int]:
    """Forward and backward of a batch without padding and with it, and its tokens."""
    encoder = Encoder.from_pretrained(folder, device="cpu").train()
    padded = Encoder.from_pretrained(folder, device="cpu").train().backbone
    padded.set_attn_implementation("sdpa")
    tokens = encoder.tokenize(texts(32, 1))

    def with_padding() -> None:
        states, mask = padded_hidden_states(padded, tokens, (-1,))
        states[-1][mask].square().mean().backward()

    return (
        lambda: hidden_states(encoder.backbone, tokens)[-1].square().mean().backward(),
        with_padding,
        len(tokens.ids),
    )


def encode(folder: Path) -> tuple[Step, Step, int]:
    """Vectors of texts by both libraries, and their tokens."""
    encoder = Encoder.from_pretrained(folder, device="cpu")
    theirs = SentenceTransformer(str(folder), device="cpu")
    shown = texts(96, 2)
    ours = encoder.encode(shown, precision="float32")
    np.testing.assert_allclose(theirs.encode(shown), ours, atol=1e-4)
    return (
        lambda: encoder.encode(shown, precision="float32"),
        lambda: theirs.encode(shown, show_progress_bar=False),
        len(encoder.tokenize(shown).ids),
    )


def lora(folder: Path) -> tuple[Step, Step, int]:
    """An update of an adapter by both libraries, and the tokens of its pairs."""
    torch.manual_seed(0)
    encoder = Encoder.from_pretrained(folder, adapter=f"lora:{RANK}", device="cpu").train()
    objective = Contrastive(AnchorPositive(), 0.05)
    anchors, positives = texts(16, 3), texts(16, 4)
    both = Tokens.concatenate([encoder.tokenize(anchors), encoder.tokenize(positives)])
    learned = [p for p in encoder.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-4)

    def ours() -> None:
        first, second = encoder(both).split(16)
        rows = torch.arange(16)
        z = Embeddings(
            {"anchor": first, "positive": second}, rows, {"anchor": rows, "positive": rows + 16}
        )
        objective(z).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    theirs = SentenceTransformer(str(folder), device="cpu").train()
    theirs.add_adapter(
        LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", lora_dropout=0.0)
    )
    loss = MultipleNegativesRankingLoss(theirs, scale=20.0)
    same = [p for p in theirs.parameters() if p.requires_grad]
    assert sum(p.numel() for p in same) == sum(p.numel() for p in learned)
    other = torch.optim.AdamW(same, lr=1e-4)

    def peft() -> None:
        features = [theirs.preprocess(part) for part in (anchors, positives)]
        loss(features, torch.arange(16)).backward()
        other.step()
        other.zero_grad()

    return ours, peft, len(both.ids)


def compare(
    ours: Step, theirs: Step, tokens: int, pairs: int, clock: Callable[[], float]
) -> dict[str, object]:
    """Seconds of both sides in turns, after one step of each that is not counted."""
    seconds: dict[str, list[float]] = {"textcl": [], "other": []}
    for turn in range(pairs + 1):
        for name, side in (("textcl", ours), ("other", theirs))[:: 1 if turn % 2 else -1]:
            start = clock()
            side()
            if turn:
                seconds[name].append(clock() - start)
    ratios = [b / a for a, b in zip(seconds["textcl"], seconds["other"], strict=True)]
    return {
        "tokens": tokens,
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(x, 2) for x in ratios],
        "tokens_per_s": {
            name: round(tokens / statistics.median(spent)) for name, spent in seconds.items()
        },
    }


if __name__ == "__main__":
    main()
