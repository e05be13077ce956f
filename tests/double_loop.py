"""The label-aware loss as its authors' code makes it: weights of all pairs by a double loop over single elements.

Kept as the slow reference of `eval/bench/lcl_step.py`; one label a row, two views of each row below one another.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def double_loop_weights(confidence, labels):
    """Row i, column k: the confidence of row i in the class of row k, one element at a time."""
    n = len(labels)
    weights = torch.zeros((n, n), dtype=confidence.dtype)
    for i in range(n):
        for k in range(n):
            weights[i, k] = confidence[i, int(labels[k])]
    return weights


def double_loop_lcl(features, logits, labels, temperature):
    """The "official" loss of unit features; gradients reach features and logits."""
    features = F.normalize(features, dim=1)
    weights = double_loop_weights(torch.softmax(logits, 1), labels)
    n = len(labels)
    scores = features @ features.T / temperature
    others = ~torch.eye(n, dtype=torch.bool)
    positives = (labels[:, None] == labels[None, :]) & others
    against = (torch.exp(scores) * weights * others).sum(1, keepdim=True)
    terms = weights * (scores - torch.log(against))
    return -((terms * positives).sum(1) / positives.sum(1)).mean()
