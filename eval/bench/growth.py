"""Growth of the cost of a training step: real tokens a second over row length, batch and cores, in one picture.

Unsupervised SimCSE on rows of random tokens whose lengths are uniform from half of a length to the length itself, both
views, bfloat16 autocast, dropout on. Batches of more rows than `--chunk` are trained with gradient caching, which
embeds every row twice; tokens are counted once. The best of `--repeats` steps counts, because the rest measures others;
a batch of more than 256 rows is many chunks and trained once.

python eval/bench/growth.py --output eval/results/… [--lengths 8 32 128 512] [--batches 16 64 256 1024 4096]
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import torch
from common import facts

from textcl.contrast.pairings import AnchorPositive
from textcl.contrast.temperature_setting import as_temperature
from textcl.encoder.encoder import Encoder
from textcl.encoder.packing.lookup import clear_gradients
from textcl.figures.charts import altair, titled
from textcl.figures.files import save
from textcl.heap import freed_memory_kept
from textcl.method.backprop import backprop_for
from textcl.method.routes import Embedder, Route
from textcl.objectives.contrastive import Contrastive
from textcl.types import Batch, Tokens

MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def made_up(rows: int, length: int, vocabulary: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(max(1, length // 2), length + 1, (rows,), generator=generator)
    ids = torch.randint(1000, vocabulary, (int(lengths.sum()),), generator=generator)
    numbers = torch.arange(rows)
    tokens = Tokens(ids, lengths)
    names = ("anchor", "positive")
    return Batch(dict.fromkeys(names, tokens), numbers, dict.fromkeys(names, numbers))


def measure(encoder: Encoder, rows: int, length: int, chunk: int, repeats: int) -> float:
    """Real tokens a second of the best of a few updates."""
    batch = made_up(rows, length, encoder.backbone.config.vocab_size)
    routes = {name: Route("online", name) for name in ("anchor", "positive")}
    embedder, objective = (
        Embedder({"online": encoder}, routes),
        Contrastive(AnchorPositive(), as_temperature(0.05)),
    )
    backprop = backprop_for(chunk if rows > chunk else 0)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=2e-5, weight_decay=0.0, fused=True)
    best = float("inf")
    with freed_memory_kept():
        for _ in range(repeats + 1 if rows <= 256 else 1):
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16):
                backprop(embedder, objective, batch, torch.Tensor.backward)
            torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
            optimizer.step()
            clear_gradients(encoder, optimizer.zero_grad)
            best = min(best, time.perf_counter() - start)
    return 2 * len(batch.tokens["anchor"].ids) / best


def picture(points: list[dict[str, object]], chunk: int):
    alt = altair()
    shared = alt.Chart(alt.Data(values=points)).mark_line(point=True)
    panels = [
        shared.transform_filter(f"datum.sweep == '{sweep}'").encode(
            x=alt.X(f"{sweep}:Q", scale=alt.Scale(type="log", base=2), title=name),
            y=alt.Y("tokens_per_s:Q", title="real tokens a second"),
            color=alt.Color("cores:N", title="cores"),
        )
        for sweep, name in (
            ("length", "longest row of a batch of 16, tokens"),
            (
                "batch",
                f"rows of a batch, up to 32 tokens each; above {chunk} with gradient caching",
            ),
        )
    ]
    return titled(
        alt.hconcat(*panels),
        "How the cost of a training step grows",
        "Two panels: real tokens a second over the length of rows, and over the rows of a batch, for 1 and 2 cores",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--lengths", type=int, nargs="+", default=[8, 16, 32, 64, 128, 256, 512])
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64, 256, 1024, 4096])
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--layers", type=int)
    parser.add_argument("--chunk", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    encoder = Encoder.from_pretrained(MODEL, num_layers=options.layers, device="cpu").train()
    sweeps = [("length", 16, length) for length in options.lengths]
    sweeps += [("batch", batch, 32) for batch in options.batches]
    points: list[dict[str, object]] = []
    for cores in options.cores:
        torch.set_num_threads(cores)
        for sweep, batch, length in sweeps:
            speed = measure(encoder, batch, length, options.chunk, options.repeats)
            point = {"sweep": sweep, "batch": batch, "length": length, "cores": cores}
            points.append({**point, "tokens_per_s": round(speed)})
            print(json.dumps(points[-1]), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    options.output.mkdir(parents=True, exist_ok=True)
    content = {"points": points, "peak_memory_mib": round(peak), "chunk": options.chunk, **facts()}
    (options.output / "growth.json").write_text(json.dumps(content, indent=1) + "\n")
    save(picture(points, options.chunk), options.output / "growth.svg")


if __name__ == "__main__":
    main()
