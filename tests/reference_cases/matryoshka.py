import torch

from textcl.contrast.pairings import AnchorPositive
from textcl.objectives.contrastive import Contrastive
from textcl.objectives.matryoshka import Matryoshka
from textcl.types import Embeddings


def run(case):
    hyper = case["hyper"]
    z1, z2 = (
        torch.tensor(case["inputs"][name], dtype=torch.float64, requires_grad=True)
        for name in ("z1", "z2")
    )
    inner = Contrastive(AnchorPositive(), hyper["temperature"])
    objective = Matryoshka(inner, hyper["dims"], hyper.get("weights"))
    loss = objective(Embeddings.of(anchor=z1, positive=z2)).loss
    g1, g2 = torch.autograd.grad(loss, (z1, z2))
    return {"loss": loss.item(), "grad": {"z1": g1.numpy(), "z2": g2.numpy()}}
