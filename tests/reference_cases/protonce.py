import torch

from textcl.contrast.pairings import AnchorPositive
from textcl.contrast.prototypes import Clusters, Prototypes
from textcl.contrast.queue import AppendQueue, MemoryQueue
from textcl.contrast.transforms import only_own_positive
from textcl.objectives.combine import WeightedSum
from textcl.objectives.contrastive import Contrastive
from textcl.objectives.proto_nce import ProtoNce
from textcl.types import Embeddings


def float64(value):
    return torch.tensor(value, dtype=torch.float64)


def filled(levels):
    clusters = [
        Clusters(
            float64(level["centroids_raw"]),
            float64(level["density"]),
            # that of the rows at hand, and then of one row a cluster: none of those drawn may be empty
            torch.tensor([*level["assignment"], *range(len(level["centroids_raw"]))]),
        )
        for level in levels
    ]
    dimension = clusters[0].centroids.shape[1]
    prototypes = Prototypes(len(clusters), dimension).double()
    prototypes.fill(clusters)
    return prototypes


def run(case):
    inputs, hyper = case["inputs"], case["hyper"]
    xq, xk, keys = (float64(inputs[name]) for name in ("xq", "xk", "queue_raw"))
    xq.requires_grad_()
    queue = MemoryQueue(len(keys), keys.shape[1]).double()
    queue.enqueue(keys)
    moco = Contrastive(
        AnchorPositive(positive="key"),
        hyper["temperature"],
        [only_own_positive, AppendQueue(queue)],
    )
    levels = inputs.get("clusters", [])
    prototypes = filled(levels) if levels else Prototypes(0, keys.shape[1])
    drawn = [torch.tensor(level["negative_ids"], dtype=torch.long) for level in levels]

    def proto():
        draws = iter(drawn)
        return ProtoNce(prototypes, lambda free: next(draws))

    z = Embeddings({"anchor": xq, "key": xk}, torch.tensor(inputs["index"]))
    loss = WeightedSum([(1.0, moco), (1.0, proto())])(z).loss
    (grad,) = torch.autograd.grad(loss, xq)
    index = torch.arange(len(xq))
    logits = [table.block(index, 1.0).logits.detach() for table, _ in proto().tables(z)]
    return {
        "loss": loss.item(),
        "info_nce": moco(z).loss.item(),
        "grad": {"xq": grad.numpy()},
        "proto_losses": [
            torch.nn.functional.cross_entropy(table, index).item() for table in logits
        ],
        "proto_logits": [table.tolist() for table in logits],
    }
