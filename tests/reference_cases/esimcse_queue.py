import torch

from textcl.contrast.pairings import AnchorPositive
from textcl.contrast.queue import AppendQueue, MemoryQueue
from textcl.objectives.contrastive import Contrastive
from textcl.types import Embeddings


def run(case):
    z1, z2 = (
        torch.tensor(case["inputs"][name], dtype=torch.float64, requires_grad=True)
        for name in ("z1", "z2")
    )
    keys = torch.tensor(case["inputs"]["queue"], dtype=torch.float64)
    keys = keys.view(-1, z1.shape[1])  # of the first step, none
    queue = MemoryQueue(max(1, len(keys)), z1.shape[1]).double()
    queue.enqueue(keys)
    objective = Contrastive(AnchorPositive(), case["hyper"]["temperature"], [AppendQueue(queue)])
    loss = objective(Embeddings.of(anchor=z1, positive=z2)).loss
    g1, g2 = torch.autograd.grad(loss, (z1, z2))
    return {"loss": loss.item(), "grad": {"z1": g1.numpy(), "z2": g2.numpy()}}
