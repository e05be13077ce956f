"""Entity linking by a dictionary of names: is a name of the right concept among the nearest?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from textcl.errors import UserError

_TABLE = 2**24  # products held at once
_PARTS = re.compile(r"[|+]")


def concept_ids(field: str) -> frozenset[str]:
    """The concept ids of a field that joins them by "|" or "+"."""
    return frozenset(_PARTS.split(field))


def mention_parts(mention: str) -> list[str]:
    """The single mentions of a composite one, joined by "|" or "+"."""
    return _PARTS.split(mention)


def nearest_names(
    mentions: Float[np.ndarray, "M D"], names: Float[np.ndarray, "N D"], k: int
) -> Int[np.ndarray, "M k"]:
    """Places of the k names with the largest dot product, best first; of equal ones, the first in the dictionary.

    Args:
        mentions: Raw rows of the mentions; nothing is normalised.
        names: Raw rows of the dictionary's names.
        k: How many; fewer where the dictionary has no more.

    Raises:
        UserError: If a vector is not finite, since no name would be nearest.
    """
    if not (np.isfinite(mentions).all() and np.isfinite(names).all()):
        raise UserError(
            "a vector of a mention or a name is not finite: the model that gave it is broken"
        )
    size = max(1, _TABLE // max(1, len(names)))
    k = min(k, len(names))
    places = [np.empty((0, k), np.int64)]
    for start in range(0, len(mentions), size):
        products = mentions[start : start + size] @ names.T
        places.append(np.argsort(-products, axis=1, kind="stable")[:, :k])
    return np.concatenate(places)


@dataclass(frozen=True)
class Query:
    """One mention to link.

    Args:
        parts: Nearest names of every part of it, best first; a simple mention has one part.
        gold: Concept ids of the mention, any of which is right.
    """

    parts: Sequence[Sequence[int]]
    gold: frozenset[str]


def linking_accuracy(queries: Sequence[Query], concepts: Sequence[frozenset[str]], k: int) -> float:
    """Share of mentions whose every part has a name of a right concept among its k nearest.

    Several names of one concept may fill the list: this counts names, not concepts.

    Args:
        queries: Mentions with their nearest names.
        concepts: Concept ids of every name of the dictionary.
        k: Names looked at.

    Raises:
        UserError: If there is no mention.

    Source: Liu et al. 2021, https://aclanthology.org/2021.naacl-main.334
    """
    if not queries:
        raise UserError("there is no mention to link")
    hits = [
        all(any(concepts[name] & query.gold for name in part[:k]) for part in query.parts)
        for query in queries
    ]
    return sum(hits) / len(queries)
