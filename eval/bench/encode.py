"""Encoding the distinct sentences of STS12–16: textcl against sentence-transformers with its defaults.

TEXTCL_DATA=… python eval/bench/encode.py [--pairs 5]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from common import in_pairs, report
from sentence_transformers import SentenceTransformer

from textcl import Encoder
from textcl.hub import find_model
from textcl.tasks import load_task

MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--limit", type=int, default=None, help="sentences; all when not given")
    options = parser.parse_args()
    tasks = [load_task(f"STS{year}") for year in range(12, 17)]
    texts = [text for task in tasks for text in (*task.sentences1, *task.sentences2)]
    texts = list(dict.fromkeys(texts))[: options.limit]
    ours = Encoder.from_pretrained(MODEL)
    theirs = SentenceTransformer(str(find_model(MODEL)), device="cpu")

    def timed(work) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    exact = theirs.encode(texts)
    vectors = ours.encode(texts)
    cosine = (
        (exact * vectors).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(vectors, axis=1)
    )
    times = in_pairs(
        lambda: timed(lambda: ours.encode(texts)),
        lambda: timed(lambda: theirs.encode(texts)),
        options.pairs,
    )
    report(
        "encode, distinct sentences of STS12-16, all-MiniLM-L6-v2",
        *times,
        len(texts),
        "sentences",
        sentences=len(texts),
        lowest_cosine_to_their_float32=round(float(cosine.min()), 6),
    )


if __name__ == "__main__":
    main()
