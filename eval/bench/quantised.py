"""Recall@10 of smaller vectors against the exact search in float32, on vectors of real sentences.

textcl encode MODEL sentences.txt -o vectors.npy --normalize
python eval/bench/quantised.py vectors.npy --json out.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from common import facts

from textcl.retrieval.quantization import Ranges, nearest_bits, to_bits
from textcl.retrieval.search import Hits, rescored, search

K = 10


def recall(found: Hits, wanted: Hits) -> float:
    """Share of the wanted rows that were found."""
    pairs = zip(found.rows.tolist(), wanted.rows.tolist(), strict=True)
    return round(sum(len({*a} & {*b}) for a, b in pairs) / wanted.rows.numel(), 4)


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vectors", type=Path, help="npy of unit vectors")
    parser.add_argument("--queries", type=int, default=500, help="the last rows")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = torch.from_numpy(np.load(options.vectors).astype(np.float32))
    corpus, queries = rows[: -options.queries], rows[-options.queries :]
    wanted, wide = search(queries, corpus, K), 4 * K
    halves = corpus.half().float()
    ranges = Ranges.of(corpus)
    codes, scaled = ranges.encode(corpus), queries * ranges.step
    bits, asked = to_bits(corpus), to_bits(queries)
    width = corpus.shape[1]
    found = {
        "float16": (2 * width, search(queries, halves, K)),
        "int8, codes alone": (width, search(scaled, codes, K, torch.Tensor.float)),
        "int8, 40 scored again": (
            width, rescored(queries, search(scaled, codes, wide, torch.Tensor.float), corpus, K)
        ),
        "binary, bits alone": (bits.shape[1], nearest_bits(asked, bits, K, width)),
        "binary, 40 scored again": (
            bits.shape[1], rescored(queries, nearest_bits(asked, bits, wide, width), corpus, K)
        ),
    }  # fmt: skip
    result = {
        "rows": len(corpus),
        "queries": options.queries,
        "dimensions": width,
        "bytes of a vector and recall@10": {
            name: [size, recall(hits, wanted)] for name, (size, hits) in found.items()
        },
        **facts(),
    }
    print(json.dumps(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
