import torch
from padded_pooling import pool_padded
from reference_cases.leaves import gradients, leaves

from textcl.objectives.nt_xent_pairs import nt_xent_pairs
from textcl.types import Embeddings

POOLINGS = {"cls": "cls", "mean": "mean_all", "mean_std": "mean"}


def run(case):
    inputs, hyper = case["inputs"], case["hyper"]
    tensors = leaves(inputs, "last_hidden_1", "last_hidden_2")

    def pooled(view):
        mask = torch.tensor(inputs[f"attention_mask_{view}"])
        return pool_padded(tensors[f"last_hidden_{view}"][None], mask, POOLINGS[hyper["agg_mode"]])

    z = Embeddings.of(anchor=pooled(1), positive=pooled(2))
    loss = nt_xent_pairs(hyper["temperature"])(z).loss
    return {"loss": loss.item(), "grad": gradients(loss, tensors)}
