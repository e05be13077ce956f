"""The diagnostics part of hard_contrastive: that module hands over cases with `negative_similarities`."""

import torch

from textcl.contrast.row_losses import softmax
from textcl.contrast.statistics import gradient_weights
from textcl.contrast.table import Block
from textcl.evaluation.geometry import entropy


def run(case):
    negatives = torch.tensor(case["inputs"]["negative_similarities"], dtype=torch.float64)
    # the positive, which the push on the negatives is independent of but for its size
    similarity = torch.cat([negatives.new_ones(1), negatives.flatten()])[None]
    targets = torch.zeros_like(similarity)
    targets[:, 0] = 1.0

    def diagnostics(temperature):
        block = Block(torch.arange(1), similarity / temperature, targets, similarity, temperature)
        push = gradient_weights(block, softmax)[0][0, 1:]
        shares = (push / push.sum()).view_as(negatives)
        return {
            "tau": temperature,
            "r": shares.numpy(),
            "entropy_nats": entropy(shares, "nats").item(),
            "entropy_bits": entropy(shares, "bits").item(),
        }

    return {"distributions": [diagnostics(temperature) for temperature in case["hyper"]["taus"]]}
