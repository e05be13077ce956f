import numpy as np
import torch

from textcl.retrieval.mining import draw_or_fill, rank_windows


def run(case):
    given, (start, stop) = case["inputs"], case["hyper"]["range"]
    corpus, vectors = given["candidate_pool"], given["vectors"]
    banned = [
        {n for n, text in enumerate(corpus) if text in (row["query"], *row["pos"])}
        for row in given["rows"]
    ]
    queries = torch.tensor([vectors[row["query"]] for row in given["rows"]])
    found = rank_windows(queries, torch.tensor([vectors[d] for d in corpus]), banned, start, stop)
    count, generator = case["hyper"]["negative_number"], np.random.default_rng(0)
    drawn = [
        draw_or_fill(one.eligible, count, len(corpus), out, generator)
        for one, out in zip(found, banned, strict=True)
    ]
    assert all(
        len(set(rows)) == len(rows) and not banned[n] & set(rows) for n, rows in enumerate(drawn)
    )
    return {
        "window": [[corpus[row] for row in one.window] for one in found],
        "eligible": [[corpus[row] for row in one.eligible] for one in found],
        "n_negatives": [len(rows) for rows in drawn],
    }
