"""The official miner's tables out of our rows: its formats are ways of writing, not of mining."""

import numpy as np
import torch

from textcl.arithmetic import unit
from textcl.retrieval.mining import MiningRules, absolute_margin, mine, relative_margin


def run(case):
    hyper = case["hyper"]
    rules = rules_of(hyper)
    pairs = case["inputs"]["pairs"]
    anchors = list(dict.fromkeys(anchor for anchor, _ in pairs))
    corpus = list(dict.fromkeys([*case["inputs"]["corpus"], *(positive for _, positive in pairs)]))
    positives = [[corpus.index(p) for a, p in pairs if a == anchor] for anchor in anchors]
    vectors = [rows(case["inputs"]["vectors"], texts) for texts in (anchors, corpus)]
    if hyper.get("sampling_strategy") == "random":
        return {"pool": pool(anchors, corpus, vectors, positives, rules, case["expected"]["pool"])}
    mined = mine(*vectors, positives, rules)
    table = [
        (anchor, corpus[own], score, [corpus[row] for row in found.rows], found.scores)
        for anchor, found in zip(anchors, mined, strict=True)
        for own, score in zip(found.positives, found.positive_scores, strict=True)
    ]
    form = "n-tuple" if rules.keep_positives else hyper.get("output_format", "triplet")
    return FORMATS[form](table, rules.negatives)


def rules_of(hyper):
    thresholds = [
        rule(hyper[name])
        for name, rule in (
            ("absolute_margin", absolute_margin),
            ("relative_margin", relative_margin),
        )
        if name in hyper
    ]
    return MiningRules(
        hyper["num_negatives"],
        hyper.get("range_min", 0),
        hyper.get("range_max"),
        tuple(thresholds),
        hyper.get("max_score", float("inf")),
        hyper.get("min_score", float("-inf")),
        hyper.get("include_positives", False),
    )


def rows(vectors, texts):
    return unit(torch.tensor([vectors[text] for text in texts], dtype=torch.float64))


def pool(anchors, corpus, vectors, positives, rules, wanted):
    """What was drawn over many seeds, what is wanted first and in its order."""
    seen = [set() for _ in anchors]
    for seed in range(100):
        drawn = mine(*vectors, positives, rules, generator=np.random.default_rng(seed))
        for found, rows in zip(seen, drawn, strict=True):
            found.update(corpus[row] for row in rows.rows)
    return {
        anchor: sorted(
            found, key=lambda d: (d not in wanted[anchor], [*wanted[anchor], d].index(d))
        )
        for anchor, found in zip(anchors, seen, strict=True)
    }


def triplets(table, _count):
    lines = [
        (anchor, positive, negative, [score, other])
        for anchor, positive, score, negatives, scores in table
        for negative, other in zip(negatives, scores, strict=True)
    ]
    return {
        name: [line[n] for line in lines]
        for n, name in enumerate(("anchor", "positive", "negative", "scores"))
    }


def tuples(table, count):
    full = [line for line in table if len(line[3]) == count]
    return {
        "anchor": [line[0] for line in full],
        "positive": [line[1] for line in full],
        **{f"negative_{n + 1}": [line[3][n] for line in full] for n in range(count)},
        "scores": [[line[2], *line[4]] for line in full],
    }


def labelled_pairs(table, _count):
    lines = []
    for anchor in dict.fromkeys(line[0] for line in table):
        own = [line for line in table if line[0] == anchor]
        lines += [(anchor, line[1], 1, line[2]) for line in own]
        lines += [(anchor, *other, 0, score) for *other, score in zip(*own[0][3:], strict=True)]
    return {
        name: [line[n] for line in lines]
        for n, name in enumerate(("anchor", "positive", "label", "score"))
    }


def labelled_lists(table, _count):
    some = [line for line in table if line[3]]
    return {
        "anchor": [line[0] for line in some],
        "positive": [[line[1], *line[3]] for line in some],
        "label": [[1] + [0] * len(line[3]) for line in some],
        "labels": [[1] + [0] * len(line[3]) for line in some],
        "scores": [[line[2], *line[4]] for line in some],
    }


FORMATS = {
    "triplet": triplets,
    "n-tuple": tuples,
    "labeled-pair": labelled_pairs,
    "labeled-list": labelled_lists,
}
