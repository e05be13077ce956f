import torch
from reference_cases.ranking_pairs import LOSSES, columns, graded, ranking

from textcl.objectives.ranking import angle_of_pairs, cosine_of_pairs

SIMILARITIES = {"cosent": cosine_of_pairs, "angle": angle_of_pairs}


def run(case):
    """Our loss and gradient beside the dense form over all pairs."""
    hyper = case["hyper"]
    ours = ranking(case, LOSSES[hyper["loss"]](temperature=1 / hyper["scale"]))
    tensors = columns(case)
    z = graded(case, tensors)
    unit_rows = [
        torch.nn.functional.normalize(z[name], dim=1) for name in ("sentence1", "sentence2")
    ]
    a = hyper["scale"] * SIMILARITIES[hyper["loss"]](*unit_rows)
    assert z.scores is not None
    wrong = (a[:, None] - a).masked_fill(z.scores[:, None] >= z.scores, -torch.inf)
    dense = torch.logsumexp(torch.cat([wrong.flatten(), wrong.new_zeros(1)]), 0)
    gradients = torch.autograd.grad(dense, list(tensors.values()))
    differences = [
        abs(g.numpy() - ours["grad"][n]).max() for n, g in zip(tensors, gradients, strict=True)
    ]
    return {**ours, "loss_quadratic": dense.item(), "max_gradient_difference": max(differences)}
