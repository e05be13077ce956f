import torch
from reference_cases.leaves import UnitRows, gradients, leaves

from textcl.contrast.pairings import AllViews
from textcl.objectives.contrastive import Contrastive
from textcl.types import Embeddings

NO_POSITIVE = {"lcl_repo": "nan", "supcontrast_repo": "zero"}


def run(case):
    tensors, hyper = leaves(case["inputs"], "x"), case["hyper"]
    z = Embeddings.of(labels=_labels(case["inputs"], len(tensors["x"])), anchor=tensors["x"])
    unit_rows = UnitRows()

    def loss_of(no_positive):
        objective = Contrastive(
            AllViews(("anchor",), same="labels"),
            hyper["temperature"],
            [unit_rows],
            no_positive=no_positive,
            base_temperature=hyper.get("base_temperature"),
        )
        return objective(z).loss

    loss = loss_of(NO_POSITIVE[hyper["variant"]])
    if "policy_loss" in case["expected"]:  # the official value is NaN
        policies = {policy: loss_of(policy).item() for policy in ("skip", "zero")}
        return {"loss": loss.item(), "policy_loss": policies}
    grad = {"features": unit_rows.gradient(loss)} | gradients(loss, tensors)
    return {"loss": loss.item(), "grad": grad}


def _labels(inputs, rows):
    """Labels of all rows; views of one sample follow each other as blocks, and without labels it is its own class."""
    if "labels" in inputs:
        return torch.tensor(inputs["labels"])
    views = inputs["n_views"]
    labels = inputs["labels_per_sample"]
    labels = torch.arange(rows // views) if labels is None else torch.tensor(labels)
    return labels.repeat(views)
