import numpy as np
import torch
from contracts import on_ranks, rows_of, with_leaves
from reference_cases.leaves import embeddings, gradients, leaves

from textcl.contrast.pairings import AnchorPositive
from textcl.objectives.contrastive import Contrastive
from textcl.types import Embeddings

NAMES = {"z1": "anchor", "z2": "positive", "z3": "negative"}


def run(case):
    """Also runs simcse_sup_hardneg, which has hard negatives as well."""
    tensors, hyper = leaves(case["inputs"], *NAMES), case["hyper"]
    weight = hyper.get("hard_negative_weight", 0.0)
    pairing = AnchorPositive(
        negatives=("negative",) if "z3" in tensors else (), hard_negative_weight=weight
    )
    objective = Contrastive(pairing, hyper["temperature"])
    z = embeddings(tensors, NAMES)
    if "world_size" in hyper:
        return _processes(objective, z, hyper["world_size"])
    loss = objective(z).loss
    block = objective.table(z).block(torch.arange(len(z)), hyper["temperature"])
    return {
        "loss": loss.item(),
        "logits": block.logits.detach().numpy(),
        "grad": gradients(loss, tensors),
    }


def _processes(objective, z, size):
    """Rows split evenly over the ranks, in order."""
    share = len(z) // size

    def work(world):
        start = world.rank * share
        own, tensors = with_leaves(rows_of(z, slice(start, start + share)))
        loss = _own_gradient(objective, world, own)
        return loss.item(), gradients(loss, tensors)

    losses, grads = zip(*on_ranks(work, size), strict=True)
    own_rows = {
        name: np.concatenate([grad[view] for grad in grads])
        for name, view in NAMES.items()
        if view in grads[0]
    }
    return {"loss_per_rank": list(losses), "grad_own_rows": own_rows}


def _own_gradient(objective, world, z):
    """The loss of the whole batch with a gradient into the own rows alone, as SimCSE's code has it on each process."""
    first = world.offset(len(z))

    def everyones(x):
        table = world.gather(x.detach())
        return torch.cat([table[:first], x, table[first + len(x) :]])

    whole = Embeddings(
        {name: everyones(x) for name, x in z.by_name.items()},
        world.gather(z.rows),
        {name: world.gather(group) for name, group in z.groups.items()},
    )
    return objective(whole).loss
