import torch

from textcl.objectives.ranking import angle, cosent
from textcl.types import Embeddings

LOSSES = {"cosent": cosent, "angle": angle}


def run(case):
    hyper = case["hyper"]
    u, v = (
        torch.tensor(case["inputs"][name], dtype=torch.float64, requires_grad=True) for name in "uv"
    )
    scores = torch.tensor(case["inputs"]["scores"], dtype=torch.float64)
    objective = LOSSES[hyper["loss"]](temperature=1 / hyper["scale"])
    loss = objective(Embeddings.of(scores=scores, sentence1=u, sentence2=v)).loss
    gu, gv = torch.autograd.grad(loss, (u, v))
    return {"loss": loss.item(), "grad": {"u": gu.numpy(), "v": gv.numpy()}}
