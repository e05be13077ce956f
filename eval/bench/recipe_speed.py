"""Sentences a second of every recipe on one small encoder, in one run: what one update costs beside another's.

The first three layers of all-MiniLM-L6-v2, twelve updates of 128 rows; the first three are not counted. A row is one
sentence, one NLI triplet, one pair or one word, as the recipe trains on.

TEXTCL_DATA=… python eval/bench/recipe_speed.py --output eval/results/… [recipe …]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tempfile
from pathlib import Path

from common import facts
from rich.console import Console

from recipes import COMMON, DATA, MODEL, WORDS
from textcl.training import recipes as recipe
from textcl.training.session import train

SKIP, STEPS = 3, 12


def speed(name: str) -> float:
    """Rows a second of the updates after the first `SKIP`."""
    found = recipe.find(name)
    file = "words/top10k_en.txt" if name in WORDS else DATA[found.roles]
    known = vars(found.settings(MODEL))
    changes = {key: value for key, value in COMMON.items() if key in known}
    changes |= {"steps": STEPS, "log_every": SKIP}
    with tempfile.TemporaryDirectory() as folder:
        done = train(
            name, model=MODEL, data=str(Path(os.environ["TEXTCL_DATA"]) / file), dev="",
            output=f"{folder}/run", settings=changes, console=Console(file=io.StringIO()),
        )  # fmt: skip
        assert done is not None
        log = (done.folder.path / "metrics.jsonl").read_text().splitlines()
        rate = {line["step"]: line["rows_per_second"] for line in map(json.loads, log)}
        batch = done.folder.facts.settings["batch_size"]
    seconds = STEPS * batch / rate[STEPS] - SKIP * batch / rate[SKIP]
    return (STEPS - SKIP) * batch / seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    encoders = [name for name in recipe.names() if recipe.find(name).roles in DATA]
    parser.add_argument("recipes", nargs="*", default=[n for n in encoders if n != "quickstart"])
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    speeds: dict[str, float] = {}
    for name in options.recipes:
        speeds[name] = round(speed(name), 1)
        print(f"{name:24} {speeds[name]:8.1f} rows/s", flush=True)
    content = {"facts": facts(), "rows_per_second": speeds}
    (options.output / "speed.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
