"""The diagnostics part of hard_contrastive: that module hands over cases with `negative_similarities`."""

import torch

from textcl.evaluation.geometry import entropy, relative_penalty


def run(case):
    similarities = torch.tensor(case["inputs"]["negative_similarities"], dtype=torch.float64)

    def diagnostics(temperature):
        shares = relative_penalty(similarities, temperature)
        nats, bits = entropy(shares, "nats"), entropy(shares, "bits")
        return {
            "tau": temperature,
            "r": shares.numpy(),
            "entropy_nats": nats.item(),
            "entropy_bits": bits.item(),
        }

    return {"distributions": [diagnostics(temperature) for temperature in case["hyper"]["taus"]]}
