"""Similarity of vectors by the four measures of sentence-transformers."""

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
    """Similarity of every row of `a` with the same row of `b`; arguments as for `compare`.

    Raises:
        UserError: If one has other rows or longer vectors than the other.
    """
    if a.shape != b.shape:
        raise UserError(
            f"{a.shape[0]} vectors of {a.shape[1]} and {b.shape[0]} of {b.shape[1]} dimensions cannot be compared row "
            "by row: pass as many of the same model"
        )
    return _OF_ROWS[measure](a, b)


def as_vectors(
    x: Iterable[str] | Float[np.ndarray, "*N D"] | Float[Tensor, "*N D"],
    encode: Callable[[Iterable[str]], Float32[np.ndarray, "N D"]],
) -> Float32[Tensor, "N D"]:
    """Vectors as they are, and those of texts.

    Args:
        x: Texts or vectors; a single one is a row of its own.
        encode: From texts to vectors.

    Raises:
        UserError: If it is neither.
    """
    if isinstance(x, str):
        return torch.from_numpy(encode([x]))
    if isinstance(x, np.ndarray) and x.dtype.kind == "f":
        x = torch.from_numpy(x)
    if not isinstance(x, Tensor):
        return torch.from_numpy(encode(x))
    if x.ndim not in (1, 2):
        raise UserError(f"expected vectors, one a row, got an array of shape {tuple(x.shape)}")
    return x.detach().cpu().float().reshape(-1, x.shape[-1])
