import torch

from textcl.objectives.batch_triplet import BatchTriplet
from textcl.types import Embeddings


def run(case):
    hyper = case["hyper"]
    rows = torch.tensor(case["inputs"]["embeddings"], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor(case["inputs"]["labels"])
    margin = {} if hyper["margin"] is None else {"margin": hyper["margin"]}
    objective = BatchTriplet(hyper["mining"], distance=hyper["distance"], **margin)
    loss = objective(Embeddings.of(labels=labels, anchor=rows)).loss
    (grad,) = torch.autograd.grad(loss, rows)
    return {"loss": loss.item(), "grad": {"embeddings": grad.numpy()}}
