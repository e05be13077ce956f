import torch

from textcl.evaluation.geometry import alignment, uniformity


def run(case):
    x, y = (
        torch.tensor(case["inputs"][name], dtype=torch.float64, requires_grad=True) for name in "xy"
    )
    align = alignment(x, y, exponent=case["hyper"]["alpha"])
    uniform = uniformity(torch.cat([x, y]), t=case["hyper"]["t"])

    def gradients(value):
        return {
            name: g.numpy()
            for name, g in zip("xy", torch.autograd.grad(value, (x, y)), strict=True)
        }

    return {
        "align": align.item(),
        "uniform": uniform.item(),
        "grad_align": gradients(align),
        "grad_uniform": gradients(uniform),
    }
