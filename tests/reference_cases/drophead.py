"""DropHead: the mask of kept heads is an input; a row without heads is NaN in the official code."""

import torch

from textcl.encoder.packing.drophead import drop_heads


def run(case):
    context = torch.tensor(case["inputs"]["context"], dtype=torch.float64)
    keep = torch.tensor(case["inputs"]["head_keep_mask"], dtype=torch.bool)
    return {"output": drop_heads(context, keep).numpy()}
