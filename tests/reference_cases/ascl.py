import torch
from torch import nn

from textcl.arithmetic import unit
from textcl.contrast.pairings import AnchorPositive
from textcl.contrast.queue import AppendQueue, MemoryQueue
from textcl.contrast.row_losses import agreement
from textcl.contrast.soft_targets import SoftQueueTargets
from textcl.contrast.transforms import only_own_positive
from textcl.distributed import ALONE
from textcl.method.hooks import Enqueue
from textcl.objectives.contrastive import Contrastive
from textcl.objectives.soft_byol import SoftByol
from textcl.types import Embeddings


def run(case):
    rows = {
        name: torch.tensor(value, dtype=torch.float64, requires_grad=name in ("xq", "h"))
        for name, value in case["inputs"].items()
    }
    return {"moco": with_columns, "byol": in_batch}[case["hyper"]["framework"]](rows, case)


def with_columns(rows, case):
    hyper, keys = case["hyper"], rows["queue_raw"]
    queue = MemoryQueue(len(keys), keys.shape[1]).double()
    queue.enqueue(keys)
    soften = SoftQueueTargets(hyper["type"], hyper["tau_prime"], hyper["k_neighbours"])
    transforms = [only_own_positive, AppendQueue(queue), soften]
    objective = Contrastive(AnchorPositive(positive="key"), hyper["tau"], transforms)
    z = Embeddings.of(anchor=rows["xq"], key=rows["xk"])
    loss = objective(z).loss
    (grad,) = torch.autograd.grad(loss, rows["xq"])
    Enqueue(queue).after_batch(z, ALONE)
    return {
        "loss": loss.item(),
        "grad": {"xq": grad.numpy()},
        "queue_after": unit(queue.keys).numpy(),
        "queue_ptr_after": queue.pointer,
    }


def in_batch(rows, case):
    hyper = case["hyper"]
    objective = SoftByol(
        nn.Identity(),
        pairs=[("anchor", "target")],
        softening=hyper["type"],
        temperature=hyper["tau_prime"],
        neighbours=hyper["k_neighbours"],
    )
    z = Embeddings.of(anchor=rows["h"], target=rows["xk"])
    loss = objective(z).loss
    (grad,) = torch.autograd.grad(loss, rows["h"])
    per_sample, _ = objective.table(z, "anchor", "target").reduce(agreement)
    return {
        "loss": loss.item(),
        "loss_per_sample": per_sample.detach().numpy(),
        "grad": {"h": grad.numpy()},
    }
