import torch
from reference_cases.leaves import gradients, leaves

from textcl.objectives.ranking import angle, cosent
from textcl.types import Embeddings

LOSSES = {"cosent": cosent, "angle": angle}


def run(case):
    hyper = case["hyper"]
    return ranking(case, LOSSES[hyper["loss"]](temperature=1 / hyper["scale"]))


def ranking(case, objective):
    """Loss and gradients of an objective over graded pairs."""
    tensors = columns(case)
    loss = objective(graded(case, tensors)).loss
    return {"loss": loss.item(), "grad": gradients(loss, tensors)}


def columns(case):
    """The columns u, v and, where rows have more texts, w, x …"""
    return leaves(case["inputs"], *(name for name in "uvwxyz" if name in case["inputs"]))


def graded(case, tensors):
    """Pairs with scores; of a row of more texts y for the first two, 1 - y for the first with each other one."""
    first, *others = tensors.values()
    given = case["inputs"].get("scores") or [1.0] * len(first)
    scores = torch.tensor(given, dtype=torch.float64)
    return Embeddings.of(
        scores=torch.cat([scores, *[1 - scores] * (len(others) - 1)]),
        sentence1=first.repeat(len(others), 1),
        sentence2=torch.cat(others),
    )
