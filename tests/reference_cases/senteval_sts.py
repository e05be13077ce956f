import numpy as np

from textcl.evaluation.correlation import Correlation, pair_scores, sts_aggregate


def run(case):
    pairs = [(name, pair) for name, rows in case["inputs"]["subsets"].items() for pair in rows]
    u, v = (np.array([pair[key] for _, pair in pairs], dtype=np.float64) for key in ("u", "v"))
    gold = [np.nan if pair["gold"] is None else pair["gold"] for _, pair in pairs]
    result = sts_aggregate(
        pair_scores(u, v), np.array(gold, np.float64), [name for name, _ in pairs]
    )

    def number(coefficient):
        return np.nan if coefficient is None else coefficient  # the files write NaN for our null

    def coefficients(part: Correlation):
        pearson, spearman = number(part.pearson), number(part.spearman)
        return {"pearson": pearson, "spearman": spearman, "n": part.pairs}

    parts = {"all": result.all, "mean": result.mean, "wmean": result.wmean}
    return {
        "per_subset": {name: coefficients(part) for name, part in result.subsets.items()},
        "aggregate": {
            "pearson": {name: number(part.pearson) for name, part in parts.items()},
            "spearman": {name: number(part.spearman) for name, part in parts.items()},
        },
    }
