"""`pooling`: the parameter-free poolers of SimCSE."""

from __future__ import annotations

from typing import Any

import torch
from padded_pooling import pool_padded

NAMES = {
    "cls_before_pooler": "cls",
    "avg": "mean",
    "avg_first_last": "first_last",
    "avg_top2": "top2",
}


def run(case: dict[str, Any]) -> dict[str, Any]:
    """Pool the hidden states in every way the case asks for."""
    hidden = torch.tensor(case["inputs"]["hidden_states"], dtype=torch.float64)
    mask = torch.tensor(case["inputs"]["attention_mask"])
    pooled = {name: pool_padded(hidden, mask, pooling) for name, pooling in NAMES.items()}
    # the official code takes the first position, and here no real token is before the padding's end
    pooled["cls_before_pooler"] = torch.where(
        mask[:, :1] > 0, pooled["cls_before_pooler"], hidden[-1][:, 0]
    )
    policies = {name for name in case["expected"] if name.startswith("policy_")}
    return {
        name: pooled[name.removeprefix("policy_")].tolist()
        for name in case["expected"]
        if f"policy_{name}" not in policies
    }
