"""Number formats that the weights of a backbone are kept in: float32, bfloat16, or 4 bits on CUDA.

Source: Dettmers et al. 2023, https://arxiv.org/abs/2305.14314 (4-bit base weights under an adapter)
"""

from __future__ import annotations

import importlib.util
from typing import Literal

import torch
from transformers import BitsAndBytesConfig, PreTrainedModel

from textcl.errors import UserError

Weights = Literal["float32", "bfloat16", "4bit"]
"""Bytes of a weight: 4, 2, and half of one with the scales of its block beside."""

_ROUNDING = {torch.float32: 1e-4, torch.float64: 1e-4}
_COARSE = 0.05  # numbers of 8 bits, through some layers


def loading_options(weights: str) -> dict[str, object]:
    """Arguments of `from_pretrained` of transformers under which weights are kept so.

    Raises:
        UserError: If there are no such weights, or this machine or installation cannot keep them.
    """
    if weights == "float32":
        return {"dtype": torch.float32}
    if weights == "bfloat16":
        return {"dtype": torch.bfloat16}
    if weights != "4bit":
        raise UserError(f"weights must be float32, bfloat16 or 4bit, not {weights!r:.60}")
    if not torch.cuda.is_available():
        raise UserError(
            "weights of 4 bits need a CUDA device, for the products with them are written for one: use "
            "bfloat16"
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            'weights of 4 bits need bitsandbytes: pip install "textcl-train[quantized]"'
        )
    return {
        "dtype": torch.bfloat16,
        "device_map": {"": "cuda"},
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        ),
    }


def rounding_of(backbone: PreTrainedModel) -> float:
    """Largest difference of a vector's numbers from those in float32, for numbers up to 1."""
    return _ROUNDING.get(next(backbone.parameters()).dtype, _COARSE)
