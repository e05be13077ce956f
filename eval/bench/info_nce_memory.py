"""InfoNCE, loss and gradient: seconds and memory of the whole table and of the same table in tiles.

"cached" is the loss stage of sentence-transformers' CachedMultipleNegativesRankingLoss, which `gpu.py` asks for.

python eval/bench/info_nce_memory.py [--rows 4096 16384 65536] [--whole-up-to 16384] [--output DIR]

Each measurement is a process of its own. Memory is the peak above the two inputs and their gradients: resident memory
on a CPU, allocated memory on a GPU. The whole table is left out where it would not fit.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from common import facts

import textcl.contrast.table
from textcl.contrast.pairings import AnchorPositive
from textcl.objectives.contrastive import Contrastive
from textcl.types import Embeddings

MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    cuda = torch.cuda.is_available()
    sizes = [4096, 16384, 65536] + ([262144, 1048576] if cuda else [])
    parser.add_argument("--rows", type=int, nargs="+", default=sizes)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--whole-up-to", type=int, default=65536 if cuda else 16384)
    parser.add_argument("--output", type=Path, default=None, help="folder for results.json")
    parser.add_argument("--measure", choices=["whole", "tiled", "cached"], default=None)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.rows[0], options.width, options.measure)))
        return
    results = []
    for rows in options.rows:
        for kind in ("whole", "tiled") if rows <= options.whole_up_to else ("tiled",):
            arguments = ["--measure", kind, "--rows", str(rows), "--width", str(options.width)]
            done = subprocess.run(
                [sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE
            )
            results.append(json.loads(done.stdout))
            print(line(results[-1]), flush=True)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        content = {"command": sys.argv, **facts(), "results": results}
        (options.output / "results.json").write_text(json.dumps(content, indent=1) + "\n")


def line(result: dict[str, Any]) -> str:
    return (
        f"{result['rows']:>9,} × {result['width']}  {result['kind']:<6}"
        f"{result['seconds']:9.2f} s {result['mib_above']:9,.0f} MiB above {result['mib_given']:,.0f} MiB "
        f"of inputs and gradients  (loss {result['loss']:.6f}, gradient norm {result['gradient_norm']:.6g})"
    )


def measure(rows: int, width: int, kind: str) -> dict[str, Any]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "whole":
        textcl.contrast.table.TILE_ELEMENTS = rows * rows
    objective = cached if kind == "cached" else Contrastive(AnchorPositive(), 0.05)
    # the code paths once, so that what they load is not counted; small, so that nothing large stays cached
    step(objective, *inputs(64, width, device), 16 * 64 if kind == "tiled" else 0)
    anchors, positives = inputs(rows, width, device)
    before = settled(device)
    start = time.perf_counter()
    loss = step(objective, anchors, positives)
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    gradients = 2 * anchors.nbytes
    above = peak(device) - before - gradients
    assert anchors.grad is not None
    assert positives.grad is not None
    norm = torch.linalg.vector_norm(torch.cat([anchors.grad[:4096], positives.grad[:4096]]))
    return {
        "rows": rows,
        "width": width,
        "kind": kind,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "seconds": round(seconds, 3),
        "mib_above": round(above / MIB, 1),
        "mib_given": round(2 * gradients / MIB, 1),
        "loss": float(loss),
        "gradient_norm": float(norm),
    }


def inputs(rows: int, width: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Anchors and positives that look alike, not yet normalised."""
    g = torch.Generator(device).manual_seed(0)
    x = torch.randn((rows, width), generator=g, device=device)
    y = x + 2 * torch.randn((rows, width), generator=g, device=device)
    return x.requires_grad_(), y.requires_grad_()


def cached(anchors, positives) -> torch.Tensor:
    """The loss stage of sentence-transformers' CachedMultipleNegativesRankingLoss, backward included."""
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

    loss = CachedMultipleNegativesRankingLoss(
        torch.nn.Sequential(torch.nn.Identity()),  # pyright: ignore[reportArgumentType]
        scale=20.0,
        mini_batch_size=1024,
    )
    return loss.calculate_loss([[anchors], [positives]], with_backward=True)


def step(objective, anchors, positives, tile: int = 0) -> torch.Tensor:
    if objective is cached:
        return cached(anchors, positives)
    kept = textcl.contrast.table.TILE_ELEMENTS
    textcl.contrast.table.TILE_ELEMENTS = tile or kept
    loss = objective(Embeddings.of(anchor=anchors, positive=positives)).loss
    loss.backward()
    textcl.contrast.table.TILE_ELEMENTS = kept
    return loss.detach()


def settled(device: str) -> int:
    """Memory in use now; the peak counts from here."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak is set back to what is resident
    return resident("VmRSS")


def peak(device: str) -> int:
    return torch.cuda.max_memory_allocated() if device == "cuda" else resident("VmHWM")


def resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(text.split()[1]) for text in lines if text.startswith(field)) * 1024


if __name__ == "__main__":
    main()
