"""The table of a temperature sweep: scores and spaces of its probes, and what the last line of each log says.

python eval/bench/temperature_table.py SWEEP_FOLDER
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

PAIRS, LABELLED = "STSBenchmark-dev", "emotion/isear/test.jsonl"
COLUMNS = (  # heading, probe or None for the log, key, format
    ("STS-B dev", PAIRS, "spearman", ".2f"),
    ("uniformity, STS-B", PAIRS, "uniformity", ".2f"),
    ("alignment, STS-B", PAIRS, "alignment", ".3f"),
    ("uniformity, ISEAR", LABELLED, "uniformity", ".2f"),
    ("tolerance, ISEAR", LABELLED, "tolerance", ".3f"),
    ("effective rank, STS-B", PAIRS, "effective_rank", ".0f"),
    ("gradient weight", None, "penalty/gradient_weight", ".4f"),
    ("effective negatives", None, "penalty/effective_negatives", ".1f"),
    ("saturated rows", None, "penalty/saturated_rows", ".0%"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", type=Path)
    folder = parser.parse_args().sweep
    cells = json.loads((folder / "sweep.json").read_text())["cells"]
    rows: dict[tuple[str, str], list[list[float]]] = {}
    for cell in cells:
        if cell["status"] == "finished":
            key = (cell["recipe"], cell["settings"]["temperature"])
            rows.setdefault(key, []).append(numbers(cell, folder))
    headings = ["recipe", "temperature", "seeds", *(heading for heading, *_ in COLUMNS)]
    print(f"| {' | '.join(headings)} |\n|---|{'---:|' * (len(headings) - 1)}")
    for (recipe, temperature), seeds in rows.items():
        columns = zip(COLUMNS, zip(*seeds, strict=True), strict=True)
        shown = [mean(values, form) for (*_, form), values in columns]
        print(f"| `{recipe}` | {temperature} | {len(seeds)} | {' | '.join(shown)} |")


def numbers(cell: dict[str, Any], folder: Path) -> list[float]:
    log = (folder / "cells" / cell["name"] / "metrics.jsonl").read_text().splitlines()
    last = [line for line in map(json.loads, log) if "loss" in line][-1]
    return [(last if probe is None else cell["probes"][probe])[key] for _, probe, key, _ in COLUMNS]


def mean(values: tuple[float, ...], form: str) -> str:
    spread = f" ± {statistics.stdev(values):.2f}" if form == ".2f" and len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{spread}"


if __name__ == "__main__":
    main()
