"""Score distributions over training, out of the logs of a sweep: small multiples of histograms, and lines beneath.

python eval/bench/score_distributions.py SWEEP_FOLDER --seed 0 -o picture.png [--steps 5,20,40,80]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from textcl.figures.charts import altair, titled
from textcl.figures.files import save

LINES = {
    "scores/positive_mean": "positives, mean score",
    "scores/positive_variance": "positives, variance",
    "scores/negative_mean": "negatives, mean score",
    "scores/negative_variance": "negatives, variance",
    "penalty/gradient_weight": "gradient weight on negatives",
    "penalty/effective_negatives": "effective negatives",
}


def logs(folder: Path) -> dict[str, dict[int, list[dict[str, Any]]]]:
    """Lines of the logs by name of the setting and by seed."""
    found: dict[str, dict[int, list[dict[str, Any]]]] = defaultdict(dict)
    for cell in json.loads((folder / "sweep.json").read_text())["cells"]:
        path = folder / "cells" / cell["name"] / "metrics.jsonl"
        if cell["status"] == "finished" and path.exists():
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            varied = ", ".join(f"{key} {value}" for key, value in cell["settings"].items())
            name = varied or cell["recipe"]
            found[name][cell["seed"]] = [line for line in lines if "loss" in line]
    return found


def ridges(found: dict[str, dict[int, list[dict[str, Any]]]], seed: int, steps: list[int]):
    """One small histogram for each setting and update."""
    alt = altair()
    rows = [
        {"run": name, "update": line["step"], "scores": kind, "cosine": -1 + (k + 0.5) / 20,
         "share": count / sum(line[f"scores/{key}_histogram"])}
        for name, seeds in found.items()
        for line in seeds.get(seed, [])
        if line["step"] in steps
        for kind, key in (("positives", "positive"), ("negatives", "negative"))
        for k, count in enumerate(line[f"scores/{key}_histogram"])
    ]  # fmt: skip
    base = alt.Chart().mark_area(opacity=0.55, interpolate="step", clip=True).encode(
        x=alt.X("cosine:Q", title=None, scale=alt.Scale(domain=[-0.5, 1])),
        y=alt.Y("share:Q", title=None, axis=None, stack=None),
        color=alt.Color("scores:N", title=None, sort=["positives", "negatives"]),
    )  # fmt: skip
    header = alt.Header(labelAngle=0, labelAlign="left", labelLimit=220)
    return base.properties(width=165, height=44, data=alt.Data(values=rows)).facet(
        row=alt.Row("run:N", title=None, sort=list(found), header=header),
        column=alt.Column("update:Q", title="update"),
        spacing=6,
    )  # fmt: skip


def lines(found: dict[str, dict[int, list[dict[str, Any]]]]):
    """Means over seeds against the update."""
    alt = altair()
    panels = []
    for key, label in LINES.items():
        rows = []
        for name, seeds in found.items():
            by_step = defaultdict(list)
            for log in seeds.values():
                for line in log:
                    if line.get(key) is not None:
                        by_step[line["step"]].append(line[key])
            rows += [
                {"run": name, "update": step, "value": statistics.mean(values)}
                for step, values in by_step.items()
            ]
        chart = alt.Chart(alt.Data(values=rows)).mark_line().encode(
            x=alt.X("update:Q", title="update"),
            y=alt.Y("value:Q", title=label, scale=alt.Scale(zero=False)),
            color=alt.Color("run:N", title=None, sort=list(found),
                            legend=alt.Legend(columns=3, labelLimit=300)),
        )  # fmt: skip
        panels.append(chart.properties(width=190, height=150))
    return alt.vconcat(alt.hconcat(*panels[:3]), alt.hconcat(*panels[3:]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", default="5,20,40,80")
    parser.add_argument("--title", default="Score distributions over training")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    found = logs(options.folder)
    steps = [int(step) for step in options.steps.split(",")]
    chart = altair().vconcat(ridges(found, options.seed, steps), lines(found))
    seeds = sorted({seed for runs in found.values() for seed in runs})
    chart = titled(
        chart.resolve_scale(color="independent"),
        options.title,
        f"Histograms of the scores of positives and negatives in training for {', '.join(found)}, at updates "
        f"{options.steps}, and beneath them means and variances by update.",
        f"histograms of seed {options.seed}, lines: mean of seeds {', '.join(map(str, seeds))}",
    )
    save(chart, options.output)


if __name__ == "__main__":
    main()
