import torch

from textcl.objectives.given_triplets import GivenTriplets
from textcl.objectives.triplet import TripletMargin
from textcl.types import Embeddings

DISTANCES = {"l2": "euclidean", "l2_normalized": "euclidean_unit", "cosine_similarity": "cosine"}


def run(case):
    inputs, hyper = dict(case["inputs"]), case["hyper"]
    labels = torch.tensor(inputs.pop("labels")) if "labels" in inputs else None
    leaves = {
        name: torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for name, value in inputs.items()
    }
    common = {
        "distance": DISTANCES[hyper["distance"]],
        "swap": hyper.get("swap", False),
        "smooth": hyper.get("smooth", False),
        "reduction": hyper["reducer"],
    }
    if hyper["mining"] == "given":
        z = Embeddings.of(**leaves)
        objective = GivenTriplets(hyper["margin"], **common)
    else:
        z = Embeddings.of(labels=labels, anchor=leaves["embeddings"])
        mining, miner_margin = hyper["mining"], hyper.get("miner_margin")
        objective = TripletMargin(
            hyper["margin"], mining=mining, miner_margin=miner_margin, **common
        )
    loss = objective(z).loss
    grads = torch.autograd.grad(loss, list(leaves.values()))
    result = {
        "loss": loss.item(),
        "grad": {name: g.numpy() for name, g in zip(leaves, grads, strict=True)},
    }
    if isinstance(objective, TripletMargin):
        result["triplets"] = objective.triplets(z).tolist()
    return result
