"""Resident memory of `textcl encode` while lines go by; each block is told on standard error.

python eval/bench/encode_memory.py MODEL LINES.txt --rows 300000 --layers 1
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from common import facts

from textcl.data.sources import open_source
from textcl.data.stream import stream_rows
from textcl.encoder.encoder import Encoder
from textcl.encoder.to_file import encode_rows


def resident() -> int:
    """MiB of this process that are in memory (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def main() -> None:
    """Encode, and print the memory after every block."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("lines")
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--layers", type=int, help="keep only the first layers of the model")
    options = parser.parse_args()
    encoder = Encoder.from_pretrained(options.model, num_layers=options.layers)
    start, base, seen = time.perf_counter(), resident(), list[tuple[int, int]]()

    def advance(rows: int) -> None:
        before = seen[-1][0] if seen else 0
        seen.append((before + rows, resident()))
        print(*seen[-1], file=sys.stderr, flush=True)

    rows = islice(stream_rows(open_source(options.lines)), options.rows)
    with tempfile.TemporaryDirectory() as folder:
        encode_rows(encoder, rows, f"{folder}/vectors.npy", progress=advance)
    later = [mib for rows, mib in seen if rows >= min(20_000, seen[-1][0])]
    result = {
        "before_the_first_row_mib": base,
        "lowest_mib_from_20000_rows_on": min(later),
        "highest_mib_from_20000_rows_on": max(later),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "seconds": round(time.perf_counter() - start, 1),
        "rows_and_mib": seen,
        **facts(),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
