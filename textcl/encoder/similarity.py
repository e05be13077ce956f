"""How similar two vectors are, by the four measures of sentence-transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional as F

from textcl.errors import UserError


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return F.normalize(a) @ F.normalize(b).T


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return a @ b.T


def _euclidean(a: Tensor, b: Tensor) -> Tensor:
    return -torch.cdist(a, b, p=2.0)


def _manhattan(a: Tensor, b: Tensor) -> Tensor:
    return -torch.cdist(a, b, p=1.0)


SIMILARITIES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": _cosine,
    "dot": _dot,
    "euclidean": _euclidean,
    "manhattan": _manhattan,
}
"""Measures by name; distances are negated, so that larger is more similar."""


_OF_ROWS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": lambda a, b: (F.normalize(a) * F.normalize(b)).sum(dim=1),
    "dot": lambda a, b: (a * b).sum(dim=1),
    "euclidean": lambda a, b: -(a - b).norm(dim=1),
    "manhattan": lambda a, b: -(a - b).abs().sum(dim=1),
}


def compare(
    a: Float32[Tensor, "N D"], b: Float32[Tensor, "M E"], measure: str
) -> Float32[Tensor, "N M"]:
    """Similarity of every row of `a` with every row of `b`.

    Args:
        a: Vectors.
        b: Vectors.
        measure: One of `SIMILARITIES`.

    Raises:
        UserError: If the vectors of one have another length than those of the other.
    """
    if a.shape[1] != b.shape[1]:
        raise UserError(
            f"vectors of {a.shape[1]} and of {b.shape[1]} dimensions cannot be compared: make both with one model"
        )
    return SIMILARITIES[measure](a, b)


def compare_rows(
    a: Float32[Tensor, "N D"], b: Float32[Tensor, "N D"], measure: str
) -> Float32[Tensor, " N"]:
    """Similarity of every row of `a` with the same row of `b`; arguments as for `compare`."""
    return _OF_ROWS[measure](a, b)


def as_vectors(
    x: Iterable[str] | Float[np.ndarray, "N D"] | Float[Tensor, "N D"],
    encode: Callable[[Iterable[str]], Float32[np.ndarray, "N D"]],
) -> Float32[Tensor, "N D"]:
    """Vectors as they are, and those of texts.

    Args:
        x: Texts or vectors.
        encode: From texts to vectors.
    """
    if isinstance(x, Tensor):
        return x.detach().cpu().float()
    if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.ndim == 2:
        return torch.from_numpy(x).float()
    return torch.from_numpy(encode(x))
