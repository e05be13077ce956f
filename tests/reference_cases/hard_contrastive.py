import torch
from reference_cases import relative_penalty
from reference_cases.leaves import embeddings, gradients, leaves

from textcl.contrast.pairings import AnchorPositive
from textcl.objectives.contrastive import Contrastive
from textcl.objectives.simple import hard_contrastive, simple

NAMES = {"z1": "anchor", "z2": "positive"}


def run(case):
    if "negative_similarities" in case["inputs"]:
        return relative_penalty.run(case)
    tensors, hyper = leaves(case["inputs"], *NAMES), case["hyper"]
    z, temperature = embeddings(tensors, NAMES), hyper.get("temperature") or 1.0
    objective = {
        "contrastive": lambda: Contrastive(AnchorPositive(), temperature),
        "simple": lambda: simple(hyper["lambda"]),
        "hard": lambda: hard_contrastive(temperature, hyper["alpha"]),
        "hard_simple": lambda: simple(hyper["lambda"], hardest=hyper["alpha"]),
    }[hyper["kind"]]()
    loss, contrast = objective(z).loss, objective.table(z)
    per_anchor, _ = contrast.reduce(objective.row_loss, temperature)
    kept = contrast.block(torch.arange(len(z)), temperature).negatives
    return {
        "loss": loss.item(),
        "per_anchor": per_anchor.detach().numpy(),
        "kept_negatives": kept.int().numpy(),
        "grad": gradients(loss, tensors),
    }
