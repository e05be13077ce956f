"""SetFit on the draws of `few_labels.py`, in an environment of its own: `pip install setfit`.

python eval/bench/few_labels_setfit.py --model FOLDER --data intent/banking77 --draws 0
"""

from __future__ import annotations

import argparse
import json
import random
import time
from importlib import metadata
from pathlib import Path

import datasets
import numpy as np
import torch
from few_labels import draw, scores
from setfit import (  # pyright: ignore[reportMissingImports]  # installed for this comparison alone
    SetFitModel,
    Trainer,
    TrainingArguments,
)


def main() -> None:
    """Measure every draw and print a line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--data", type=Path, required=True, help="train.jsonl and test.jsonl")
    parser.add_argument("--classes", type=int, default=20, help="0 for all")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--draws", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=70)
    parser.add_argument("--test-rows", type=int, default=1000, help="most rows that are tested")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for seed in options.draws:
        train, test = draw(options.data, seed, options.classes, options.rows)
        if len(test) > options.test_rows:
            test = random.Random(seed).sample(test, options.test_rows)
        started, processor = time.perf_counter(), time.process_time()
        model = SetFitModel.from_pretrained(options.model)
        arguments = TrainingArguments(
            output_dir="/tmp/setfit", batch_size=16, max_steps=options.steps, seed=seed,
            save_strategy="no", report_to="none",
        )  # fmt: skip
        Trainer(
            model=model, args=arguments, train_dataset=datasets.Dataset.from_list(train)
        ).train()
        seconds = time.perf_counter() - started, time.process_time() - processor
        predicted = np.array(model.predict([row["text"] for row in test]))
        truth = [row["label"] for row in test]
        line = {
            "draw": seed,
            "data": options.data.name,
            **scores(predicted, truth),
            "seconds": seconds[0],
            "processor_seconds": seconds[1],
            "steps": options.steps,
            "version": metadata.version("setfit"),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
