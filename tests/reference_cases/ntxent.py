import torch
from reference_cases.leaves import gradients, leaves

from textcl.objectives.nt_xent_pairs import nt_xent_pairs
from textcl.types import Embeddings


def run(case):
    """The rows of all views are one table, and labels say which of them are a pair."""
    tensors, hyper = leaves(case["inputs"], "z1", "z2", "embeddings"), case["hyper"]
    labels = torch.tensor(case["inputs"]["labels"])
    z = Embeddings.of(labels=labels, anchor=torch.cat(list(tensors.values())))
    loss = nt_xent_pairs(hyper["temperature"], names=("anchor",), same="labels")(z).loss
    return {"loss": loss.item(), "grad": gradients(loss, tensors)}
