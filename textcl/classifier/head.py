"""Classification heads: from an embedding to class logits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from textcl.errors import UserError

Activation = Literal["relu", "tanh", "gelu", "none"]
_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


@dataclass(frozen=True)
class HeadShape:
    """Arguments of a `ClassificationHead`, as classifier.json keeps them; see there."""

    dimension: int
    classes: int
    activation: Activation = "relu"
    dropout: float = 0.1
    dropout_input: bool = False
    dropout_logits: bool = False
    normalize: bool = False


class HeadOptions(TypedDict, total=False):
    """Settings of the head of an architecture, beside its widths."""

    activation: Activation
    dropout_input: bool
    dropout_logits: bool


class ClassificationHead(nn.Module):
    """Class logits V · dropout( activation( W x + b ) ) + d, or without a hidden layer V · dropout( x ) + d.

    Args:
        dimension: Width of an embedding.
        classes: Number of classes.
        activation: Between the two layers; "none" for a single one.
        dropout: Probability.
        dropout_input: Dropout on the embedding too.
        dropout_logits: Dropout on the class logits too, a quirk of LCL's code.
        normalize: Whether embeddings are brought to length 1 first.

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
        normalize: bool = False,
    ) -> None:
        super().__init__()
        self.shape = HeadShape(
            dimension, classes, activation, dropout, dropout_input, dropout_logits, normalize
        )
        self.normalize = normalize
        hidden = activation != "none"
        self.dense = nn.Linear(dimension, dimension) if hidden else nn.Identity()
        self.activation = _ACTIVATIONS[activation]() if hidden else nn.Identity()
        self.output = nn.Linear(dimension, classes)
        self.dropout_input = nn.Dropout(dropout if dropout_input else 0.0)
        self.dropout = nn.Dropout(dropout)
        self.dropout_logits = nn.Dropout(dropout if dropout_logits else 0.0)

    @property
    def is_linear(self) -> bool:
        """Whether there is no hidden layer, so that the head can be a logistic regression."""
        return isinstance(self.dense, nn.Identity)

    @torch.no_grad()
    def start_from(self, weight: Float[np.ndarray, "C D"], bias: Float[np.ndarray, " C"]) -> None:
        """Let the logits be weight · x + bias, before a head without a hidden layer is trained.

        Where the head normalizes, x has length 1.

        Args:
            weight: One row for each class.
            bias: One number for each class.
        """
        self.output.weight.copy_(torch.from_numpy(weight))
        self.output.bias.copy_(torch.from_numpy(bias))

    def forward(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B classes"]:
        """Class logits of each row, in the precision of the row."""
        with torch.autocast(x.device.type, enabled=False):
            if self.normalize:
                x = nn.functional.normalize(x.float(), dim=1)
            hidden = self.activation(self.dense(self.dropout_input(x)))
            return self.dropout_logits(self.output(self.dropout(hidden)))


# How the sequence classifiers of transformers are made, behind the state of the first token.
_OWN: dict[str, HeadOptions] = {
    "bert": {"activation": "tanh"},
    "roberta": {"activation": "tanh", "dropout_input": True},
    "xlm-roberta": {"activation": "tanh", "dropout_input": True},
    "mpnet": {"activation": "tanh", "dropout_input": True},
    "electra": {"activation": "gelu", "dropout_input": True},
    "distilbert": {"activation": "relu"},
    "deberta-v2": {"activation": "gelu", "dropout_input": True},
}


def own_shape(model_type: str) -> HeadOptions:
    """Options by which an architecture's own head differs from that of LCL; empty where they are unknown."""
    return _OWN.get(model_type, {})


HeadKind = Literal["linear", "own", "lcl"]


def make_head(
    kind: HeadKind,
    model_type: str,
    dimension: int,
    classes: int,
    *,
    dropout: float = 0.1,
    multi_label: bool = False,
    normalize: bool = False,
) -> ClassificationHead:
    """A fresh head.

    Args:
        kind: "linear" is a single layer, which can start as a logistic regression; "own" has the shape of the
            architecture's sequence classifier in transformers (LCL's for architectures that textcl does not know);
            "lcl" is that of LCL's code, with dropout on the logits.
        model_type: Architecture, as transformers names it.
        dimension: Width of an embedding.
        classes: Number of classes.
        dropout: Probability.
        multi_label: Start from one label a row, a probability of 1 / classes for each, instead of one half: otherwise
            hundreds of updates teach all rows the same, that most labels are absent.
        normalize: Whether embeddings are brought to length 1 first.

    Raises:
        UserError: If there are no classes.
    """
    if not classes:
        raise UserError("a classifier needs its classes: they are found in labelled training data")
    shapes: dict[HeadKind, HeadOptions] = {
        "linear": {"activation": "none"},
        "own": own_shape(model_type),
        "lcl": {"dropout_logits": True},
    }
    head = ClassificationHead(
        dimension, classes, dropout=dropout, normalize=normalize, **shapes[kind]
    )
    if multi_label and classes > 1:
        nn.init.constant_(head.output.bias, -math.log(classes - 1))
    return head
