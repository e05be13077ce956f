import torch
from score_statistics import score_statistics

from textcl.arithmetic import unit
from textcl.contrast.draws import Mix
from textcl.contrast.mixing import ExtrapolatePositives, InterpolateQueue
from textcl.contrast.queue import AppendQueue, MemoryQueue
from textcl.contrast.table import Contrast
from textcl.contrast.transforms import only_own_positive
from textcl.objectives.contrastive import Contrastive
from textcl.types import Embeddings

STATISTICS = {
    "neg_mean": "negative_mean",
    "neg_var_unbiased": "negative_variance",
    "pos": "positive",
    "mean_exp_neg_over_tau": "negative_exp_mean",
    "exp_pos_over_tau": "positive_exp",
}


def given(coefficient, partners):
    coefficient = torch.tensor(coefficient, dtype=torch.float64)
    coefficient = coefficient[:, None] if coefficient.ndim == 1 else coefficient
    return lambda rows: Mix(coefficient, torch.tensor(partners))


def positives_as_given(z, world):
    """The unit rows as they are: the gradient at the unit query needs it as a leaf."""
    return Contrast(z["anchor"], z["key"], torch.arange(len(z)))


def run(case):
    inputs, hyper = case["inputs"], case["hyper"]
    xq, xk, keys = (
        torch.tensor(inputs[name], dtype=torch.float64) for name in ("xq", "xk", "queue_raw")
    )
    queue = MemoryQueue(len(keys), keys.shape[1]).double()
    queue.enqueue(unit(keys))
    transforms = [only_own_positive, AppendQueue(queue)]
    if hyper["mix"] and "pos" in hyper["target"]:
        draw = given(inputs["lambda_pos"], list(range(len(xq))))
        transforms.insert(0, ExtrapolatePositives(draw, normalize=hyper["post_normalise"]))
    if hyper["mix"] and "neg" in hyper["target"]:
        draw = given(inputs["lambda_neg"], inputs["queue_permutation"])
        transforms.append(InterpolateQueue(draw))
    objective = Contrastive(positives_as_given, hyper["temperature"], transforms)

    xq.requires_grad_()
    q = unit(xq)
    z = Embeddings.of(anchor=q, key=unit(xk))
    loss, table = objective(z).loss, objective.table(z)
    at_unit, at_raw = torch.autograd.grad(loss, (q, xq))
    rows = torch.arange(len(q))
    logits = table.block(rows, hyper["temperature"]).logits.detach()
    own, queued = logits[rows, table.targets, None], logits[:, -table.queued :]
    statistics = score_statistics(table, hyper["temperature"])
    columns = case["expected"]["score_stats"]["columns"]
    mixed = table.candidates[table.targets].detach()
    queue.enqueue(mixed if hyper["enqueue"] == "mixed keys" else xk)
    after = queue.keys if hyper["enqueue"] == "mixed keys" else unit(queue.keys)
    return {
        "loss": loss.item(),
        "logits": torch.cat([own, queued], 1).numpy(),
        "grad": {"q": at_unit.numpy(), "xq": at_raw.numpy()},
        "score_stats": {
            "columns": columns,
            "rows": torch.stack([statistics[STATISTICS[c]] for c in columns], 1).numpy(),
        },
        "queue_after": after.numpy(),
    }
