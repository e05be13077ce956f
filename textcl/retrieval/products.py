"""Dot products that decide a search: coarse ones rule rows out and cannot miss, exact ones order the rest."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_PAIRS = 512  # multiplied at once, few enough for the cache
_GATHERED = 1 << 16  # pairs multiplied at once on a GPU
_CACHED = 1024  # rows that fit into the cache


@dataclass(frozen=True)
class Pairs:
    """Queries and rows by their places, in the order of the queries and then of the rows."""

    query: Int[Tensor, " P"]
    row: Int[Tensor, " P"]

    @classmethod
    def of(cls, wanted: Bool[Tensor, "Q n"]) -> Pairs:
        """The places that are true."""
        if wanted.device.type == "cpu":  # several times as fast as `nonzero`
            flat = torch.from_numpy(np.flatnonzero(wanted.numpy()))
        else:
            flat = wanted.flatten().nonzero()[:, 0]
        query = flat // max(1, wanted.shape[1])
        return cls(query, flat - query * wanted.shape[1])

    def these(self, chosen: Int[Tensor, " p"]) -> Pairs:
        """Some of them."""
        return Pairs(self.query[chosen], self.row[chosen])


def exact(queries: Float[Tensor, "Q D"], rows: Float[Tensor, "n D"]) -> Float[Tensor, "Q n"]:
    """All products, summed in float64 and rounded once, so that equal rows have equal scores wherever they stand."""
    return (queries.double() @ rows.double().T).to(queries.dtype)


def exact_pairs(queries: Float[Tensor, "P D"], rows: Float[Tensor, "P D"]) -> Float[Tensor, " P"]:
    """The product of row i of both, as of `exact`."""
    parts = zip(queries.split(_PAIRS), rows.split(_PAIRS), strict=True)
    return torch.cat([torch.linalg.vecdot(q.double(), r.double()).to(q.dtype) for q, r in parts])


def exact_some(
    queries: Float[Tensor, "Q D"], rows: Float[Tensor, "n D"], pairs: Pairs
) -> Float[Tensor, " P"]:
    """The products of some pairs, in float64.

    Args:
        queries: In float64.
        rows: In any precision.
        pairs: Their places.
    """
    if queries.device.type != "cpu" or len(pairs.row) <= _PAIRS:
        parts = zip(pairs.query.split(_GATHERED), pairs.row.split(_GATHERED), strict=True)
        return torch.cat([torch.linalg.vecdot(queries[q], rows[r].double()) for q, r in parts])
    if len(pairs.row) < len(rows):  # most rows need not be widened
        used, row = pairs.row.unique(return_inverse=True)
        return _sampled(queries, rows[used].double(), Pairs(pairs.query, row))
    part = (pairs.row // _CACHED).to(torch.int16)
    order = torch.from_numpy(np.argsort(part.numpy(), kind="stable"))
    counts = torch.bincount(part, minlength=len(rows.split(_CACHED))).tolist()
    scores = torch.empty(len(order), dtype=torch.float64)
    for number, (some, own) in enumerate(
        zip(order.split(counts), rows.split(_CACHED), strict=True)
    ):
        row = pairs.row[some] - number * _CACHED
        scores[some] = _sampled(queries, own.double(), Pairs(pairs.query[some], row))
    return scores


def _sampled(
    queries: Float[Tensor, "Q D"], rows: Float[Tensor, "n D"], pairs: Pairs
) -> Float[Tensor, " P"]:
    """The products of some pairs, in a fraction of the time that gathering the vectors takes."""
    counts = torch.bincount(pairs.query, minlength=len(queries))
    starts = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    none, shape = rows.new_zeros(len(pairs.row)), (len(queries), len(rows))
    with warnings.catch_warnings():  # torch calls all its compressed tables beta
        warnings.simplefilter("ignore")
        wanted = torch.sparse_csr_tensor(starts, pairs.row, none, shape, check_invariants=False)
    return torch.sparse.sampled_addmm(wanted, queries, rows.T, beta=0.0).values()
