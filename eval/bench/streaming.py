"""Rows that are streamed: how fast they arrive, and how long it takes to go on from a place.

python eval/bench/streaming.py --output eval/results/DATE-streaming
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import datasets
import pyarrow
from pyarrow import parquet

from textcl.data.reading import Selection
from textcl.data.sources import open_source
from textcl.data.streamed import StreamedRows
from textcl.versions import versions

ROWS, FILES, BUFFER, BATCH = 400_000, 4, 10_000, 64


def write_corpus(folder: Path) -> list[str]:
    """Parquet files of 12 made-up words a row."""
    draw, words = random.Random(0), [f"word{i}" for i in range(1000)]
    for number in range(FILES):
        texts = [" ".join(draw.choices(words, k=12)) for _ in range(ROWS // FILES)]
        parquet.write_table(pyarrow.table({"text": texts}), folder / f"{number}.parquet")
    return sorted(map(str, folder.glob("*.parquet")))


def measure(source: Callable[[], object]) -> dict[str, float]:
    """Processor seconds of the first buffer and of going on, and rows a processor second."""

    def opened() -> StreamedRows:
        return StreamedRows(Selection(open_source(source()), ("text",), {}, None), BUFFER)

    start = time.process_time()
    rows = opened()
    first = time.process_time() - start
    start, drawn = time.process_time(), 0
    while drawn < ROWS - 2 * BUFFER:
        rows[range(drawn, drawn + BATCH)]
        drawn += BATCH
    speed = drawn / (time.process_time() - start)
    place, again = rows.place_of(drawn), opened()
    start = time.process_time()
    again.go_on(place)
    again[[drawn]]
    return {
        "first buffer, s": round(first, 2),
        "rows/s": round(speed),
        "go on, s": round(time.process_time() - start, 2),
    }


def main() -> None:
    """Measure both ways to stream parquet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    output = parser.parse_args().output
    with tempfile.TemporaryDirectory() as place:
        files = write_corpus(Path(place))
        found: dict[str, object] = {
            "stream:FOLDER": measure(lambda: f"stream:{place}"),
            "datasets": measure(
                lambda: datasets.load_dataset("parquet", data_files=files, streaming=True)
            ),
        }
    found["peak, MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    found["versions"] = versions()
    output.mkdir(parents=True, exist_ok=True)
    (output / "results.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
