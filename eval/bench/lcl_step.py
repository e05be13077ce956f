"""The label-aware loss, forward and backward, beside the double loop of a first implementation.

python eval/bench/lcl_step.py [--rows 128] [--classes 28] [--width 768] [--pairs 7] [--output DIR]

Both get the same vectors, class logits and labels in float32 and must agree, loss and gradients, before they are timed.
The reference is `tests/double_loop.py`: the weights of all pairs are written one element at a time, all else is tensor
arithmetic.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch
from common import facts, in_pairs

from textcl.objectives.label_aware import LabelAware
from textcl.types import Embeddings

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from double_loop import double_loop_lcl


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--classes", type=int, default=28)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--output", type=Path, help="folder for results.json")
    options = parser.parse_args()
    results = [measure(rows, options) for rows in options.rows]
    content = {"command": "python " + " ".join(sys.argv), **facts(), "results": results}
    print(json.dumps(content, indent=1))
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "results.json").write_text(json.dumps(content, indent=1) + "\n")


def measure(rows: int, options: argparse.Namespace) -> dict[str, object]:
    """Seconds of a step at so many rows, the rows of both views together."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(rows) % min(options.classes, rows // 2)
    x = torch.randn((rows, options.width), generator=draw, requires_grad=True)
    logits = torch.randn((rows, options.classes), generator=draw, requires_grad=True)
    objective = LabelAware(0.3, ("anchor",), ("weigher",))

    def fast() -> torch.Tensor:
        return objective(Embeddings.of(labels=labels, anchor=x, weigher=logits)).loss

    def slow() -> torch.Tensor:
        return double_loop_lcl(x, logits, labels, 0.3)

    ours, theirs = ((loss, *torch.autograd.grad(loss, (x, logits))) for loss in (fast(), slow()))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)

    def timed(loss_of, repeat):
        def step() -> float:
            start = time.perf_counter()
            for _ in range(repeat):
                torch.autograd.grad(loss_of(), (x, logits))
            return (time.perf_counter() - start) / repeat

        return step

    left, right = in_pairs(timed(fast, 20), timed(slow, 1), options.pairs)
    ratios = [b / a for a, b in zip(left, right, strict=True)]
    return {
        "rows": rows,
        "classes": options.classes,
        "width": options.width,
        "ratio": round(statistics.median(ratios), 1),
        "ratios": [round(ratio, 1) for ratio in ratios],
        "textcl_ms": round(1000 * statistics.median(left), 3),
        "double_loop_ms": round(1000 * statistics.median(right), 1),
    }


if __name__ == "__main__":
    main()
