import torch
from reference_cases.leaves import UnitRows, gradients, leaves

from textcl.objectives.label_aware import LabelAware
from textcl.types import Embeddings


def run(case):
    tensors, temperature = (
        leaves(case["inputs"], "x", "weight_logits"),
        case["hyper"]["temperature"],
    )
    z = Embeddings.of(
        labels=torch.tensor(case["inputs"]["labels"]),
        anchor=tensors["x"],
        weigher=tensors["weight_logits"],
    )
    unit_rows = UnitRows()

    def loss_of(variant, no_positive):
        objective = LabelAware(
            temperature,
            ("anchor",),
            ("weigher",),
            variant=variant,
            no_positive=no_positive,
            transforms=[unit_rows],
        )
        return objective(z).loss

    def policies(variant):
        return {policy: loss_of(variant, policy).item() for policy in ("skip", "zero")}

    paper, loss = loss_of("paper", "nan").item(), loss_of("official", "nan")
    printed = {"loss_mean_over_anchors": paper, "loss_sum_over_anchors": paper * len(z)}
    result = {"loss": loss.item(), "paper_variant": printed}
    if "policy_loss" in case["expected"]:  # the official value is NaN
        printed["policy_loss"] = policies("paper")
        return result | {"policy_loss": policies("official")}
    return result | {"grad": {"features": unit_rows.gradient(loss)} | gradients(loss, tensors)}
