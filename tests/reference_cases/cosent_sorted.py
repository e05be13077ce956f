import pytest
import torch
from reference_cases.ranking_pairs import LOSSES
from reference_cases.ranking_pairs import run as run_pairs


def run(case):
    """Our loss and gradient beside the dense form over all pairs."""
    inputs, scale = case["inputs"], case["hyper"]["scale"]
    if "scores" not in inputs or len(inputs["u"][0]) % 2:
        pytest.skip("not yet implemented: triplets without scores, and rows of odd width")
    ours = run_pairs(case)
    u, v = (torch.tensor(inputs[name], dtype=torch.float64, requires_grad=True) for name in "uv")
    scores = torch.tensor(inputs["scores"], dtype=torch.float64)
    similarity = LOSSES[case["hyper"]["loss"]]().similarity
    a = scale * similarity(*(torch.nn.functional.normalize(x, dim=1) for x in (u, v)))
    wrong = (a[:, None] - a).masked_fill(scores[:, None] >= scores, -torch.inf)
    dense = torch.logsumexp(torch.cat([wrong.flatten(), wrong.new_zeros(1)]), 0)
    gradients = torch.autograd.grad(dense, (u, v))
    differences = [
        abs(g.numpy() - ours["grad"][n]).max() for n, g in zip("uv", gradients, strict=True)
    ]
    return {**ours, "loss_quadratic": dense.item(), "max_gradient_difference": max(differences)}
