"""Names of classes as numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
from jaxtyping import Bool, Int

from textcl.data.texts import as_column, refused_value
from textcl.errors import UserError

Targets = Int[np.ndarray, " N"] | Bool[np.ndarray, "N C"]
"""Class ids, or where rows have several labels whether each class is one of them."""


def targets_of(
    labels: Iterable[object], classes: Sequence[str], multi_label: bool, place: str
) -> Targets:
    """Names of classes as numbers.

    Args:
        labels: A name for each row, or a list of names where rows have several; numbers stand for their digits.
        classes: Names in the order of their ids.
        multi_label: Whether rows have several.
        place: What a message calls the data.

    Returns:
        Class ids (N,), or whether each class is a label of the row (N, C).

    Raises:
        UserError: If a label is none of the classes.
    """
    if as_column(labels) is None:
        raise UserError(
            f"{place}: expected the labels of each row in a list, got {refused_value(labels)}"
        )
    ids = {name: index for index, name in enumerate(classes)}
    lists = [
        [str(name) for name in cast("Iterable[object]", names)] if multi_label else [str(names)]
        for names in labels
    ]
    unknown = Counter(name for names in lists for name in names if name not in ids)
    if unknown:
        listing = ", ".join(
            f"{name!r} ({count} {'row' if count == 1 else 'rows'})"
            for name, count in unknown.most_common(5)
        )
        known = ", ".join(classes[:10]) + (", …" if len(classes) > 10 else "")
        raise UserError(
            f"{place} has labels that are none of the {len(classes)} classes ({known}): {listing}; "
            "correct them, leave those rows out, or train with them"
        )
    if not multi_label:
        return np.array([ids[name] for (name,) in lists], dtype=np.int64)
    hot = np.zeros((len(lists), len(classes)), dtype=bool)
    for row, names in enumerate(lists):
        hot[row, [ids[name] for name in names]] = True
    return hot
