"""Classification heads: from an embedding to class logits."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from textcl.errors import UserError

Activation = Literal["relu", "tanh", "gelu"]
_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


class ClassificationHead(nn.Module):
    """Class logits V · dropout( activation( W x + b ) ) + d.

    Args:
        dimension: Width of an embedding.
        classes: Number of classes.
        activation: Between the two layers.
        dropout: Probability.
        dropout_input: Dropout on the embedding too.
        dropout_logits: Dropout on the class logits too, a quirk of LCL's code.

    Source: Suresh & Ong 2021, https://arxiv.org/abs/2109.05427

    Note: LCL's code has dropout before ReLU, which gives the same: ReLU commutes with zeroing and with scaling.
    """

    def __init__(
        self,
        dimension: int,
        classes: int,
        *,
        activation: Activation = "relu",
        dropout: float = 0.1,
        dropout_input: bool = False,
        dropout_logits: bool = False,
    ) -> None:
        super().__init__()
        self.said: dict[str, Any] = {
            "dimension": dimension,
            "classes": classes,
            "activation": activation,
            "dropout": dropout,
            "dropout_input": dropout_input,
            "dropout_logits": dropout_logits,
        }
        self.dense = nn.Linear(dimension, dimension)
        self.activation = _ACTIVATIONS[activation]()
        self.output = nn.Linear(dimension, classes)
        self.dropout_input = nn.Dropout(dropout if dropout_input else 0.0)
        self.dropout = nn.Dropout(dropout)
        self.dropout_logits = nn.Dropout(dropout if dropout_logits else 0.0)

    def forward(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B classes"]:
        """Class logits of each row, in the precision of the row."""
        with torch.autocast(x.device.type, enabled=False):
            hidden = self.activation(self.dense(self.dropout_input(x)))
            return self.dropout_logits(self.output(self.dropout(hidden)))


# How the sequence classifiers of transformers are made, behind the state of the first token.
_OWN: dict[str, dict[str, Any]] = {
    "bert": {"activation": "tanh"},
    "roberta": {"activation": "tanh", "dropout_input": True},
    "xlm-roberta": {"activation": "tanh", "dropout_input": True},
    "mpnet": {"activation": "tanh", "dropout_input": True},
    "electra": {"activation": "gelu", "dropout_input": True},
    "distilbert": {"activation": "relu"},
    "deberta-v2": {"activation": "gelu", "dropout_input": True},
}


def own_shape(model_type: str) -> dict[str, Any]:
    """How the head of an architecture's sequence classifier differs from that of LCL; empty where it is unknown."""
    return _OWN.get(model_type, {})


HeadKind = Literal["own", "lcl"]


def make_head(
    kind: HeadKind,
    model_type: str,
    dimension: int,
    classes: int,
    *,
    dropout: float = 0.1,
    multi_label: bool = False,
) -> ClassificationHead:
    """A fresh head.

    Args:
        kind: "own" has the shape of the architecture's sequence classifier in transformers (LCL's for architectures
            that textcl does not know); "lcl" is that of LCL's code, with dropout on the logits.
        model_type: Architecture, as transformers names it.
        dimension: Width of an embedding.
        classes: Number of classes.
        dropout: Probability.
        multi_label: Start from one label a row, a probability of 1 / classes for each, instead of one half: otherwise
            hundreds of updates teach all rows the same, that most labels are absent.

    Raises:
        UserError: If there are no classes.
    """
    if not classes:
        raise UserError("a classifier needs its classes: they are found in labelled training data")
    shape: dict[str, Any] = {"dropout_logits": True} if kind == "lcl" else own_shape(model_type)
    head = ClassificationHead(dimension, classes, dropout=dropout, **shape)
    if multi_label and classes > 1:
        nn.init.constant_(head.output.bias, -math.log(classes - 1))
    return head
