import numpy as np

from textcl.evaluation.lexicon import lexicon, mean_reciprocal_rank, translations


def ranks(asked):
    """The k of the precisions that a case asks for."""
    return [int(name.rpartition("_")[2]) for name in asked if name.startswith("precision_at_")]


def run(case):
    given = case["inputs"]
    words = given["source_words"], given["target_words"]
    pairs = lexicon([tuple(line) for line in given["dictionary"]], *words)
    rows = np.array(given["source"]), np.array(given["target"])
    cosine = translations(*rows, pairs, csls_neighbours=None)
    csls = translations(*rows, pairs, case["hyper"]["csls_k"])
    positions = cosine.positions.tolist()

    def muse(found, asked):
        return {f"precision_at_{k}": found.precision(k) for k in ranks(asked)}

    return {
        "cosine": muse(cosine, case["expected"]["cosine"]),
        "csls": muse(csls, case["expected"]["csls"]),
        "pairs_alone": {
            "positions": positions,
            "mrr": mean_reciprocal_rank(positions),
            **{
                f"precision_at_{k}": float(np.mean(np.array(positions) <= k))
                for k in ranks(case["expected"]["pairs_alone"])
            },
        },
        "csls_top1": {
            words[0][source]: words[1][best]
            for source, best in zip(pairs.sources, csls.best.tolist(), strict=True)
        },
    }
