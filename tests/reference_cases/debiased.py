from reference_cases.leaves import UnitRows, embeddings, gradients, leaves

from textcl.contrast.pairings import AllViews
from textcl.objectives.hard_negative import HardNegative

NAMES = {"x1": "anchor", "x2": "positive"}


def run(case):
    hyper = case["hyper"]
    prior = hyper["tau_plus"] if hyper["debiased"] else 0.0
    return result(case, prior, beta=0.0)


def result(case, prior, beta):
    """Loss and gradients at the raw rows and at the unit rows."""
    tensors, unit_rows = leaves(case["inputs"], *NAMES), UnitRows()
    objective = HardNegative(AllViews(), case["hyper"]["temperature"], prior, beta, [unit_rows])
    loss = objective(embeddings(tensors, NAMES)).loss
    at_unit_rows, rows = unit_rows.gradient(loss), len(tensors["x1"])
    grad = {"out1": at_unit_rows[:rows], "out2": at_unit_rows[rows:]} | gradients(loss, tensors)
    return {"loss": loss.item(), "grad": grad}
