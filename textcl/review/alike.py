"""Classes that look alike, and equal texts with different labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from sklearn.metrics import confusion_matrix

from textcl.data.splits import normalised

TOLD_APART, MIXED_ROWS, PAIRS = 0.75, 5, 20


@dataclass(frozen=True)
class Alike:
    """Two classes that are taken for each other.

    Args:
        first: Name of the larger one.
        second: Name of the other.
        rows: Rows of both.
        mixed: Rows of either that are taken for the other.
        told_apart: Of rows that are taken for either, the share that is right, the mean of both classes; 0.5 is
            chance.
        gain: Accuracy on all rows if they were one class, minus accuracy now; in [0, 1].
    """

    first: str
    second: str
    rows: int
    mixed: int
    told_apart: float
    gain: float


def classes_alike(
    labels: Int[np.ndarray, " N"], probabilities: Float[np.ndarray, "N C"], classes: Sequence[str]
) -> list[Alike]:
    """Pairs that a model hardly distinguishes: `told_apart` below 0.75, from 5 mixed rows on; the largest gain first.

    The gain is that of the same probabilities, those of the two classes added.

    Args:
        labels: The given class of each row.
        probabilities: Of each class, by a model that did not see the row.
        classes: Their names.
    """
    confusion = confusion_matrix(labels, probabilities.argmax(1), labels=range(len(classes)))
    mixed = np.triu(confusion + confusion.T, 1)
    support = confusion.sum(1)
    pairs: list[Alike] = []
    for place in np.argsort(-mixed, axis=None, kind="stable")[: 5 * PAIRS].tolist():
        a, b = divmod(place, len(classes))
        pair = confusion[np.ix_([a, b], [a, b])]
        told_apart = float((pair.diagonal() / np.maximum(pair.sum(1), 1)).mean())
        if mixed[a, b] < MIXED_ROWS or told_apart >= TOLD_APART:
            continue
        large, small = (a, b) if support[a] >= support[b] else (b, a)
        pairs.append(
            Alike(
                str(classes[large]),
                str(classes[small]),
                int(support[a] + support[b]),
                int(mixed[a, b]),
                told_apart,
                _gain(labels, probabilities, a, b),
            )
        )
    return sorted(pairs, key=lambda each: -each.gain)[:PAIRS]


def _gain(
    labels: Int[np.ndarray, " N"], probabilities: Float[np.ndarray, "N C"], a: int, b: int
) -> float:
    merged = probabilities.copy()
    merged[:, a] += merged[:, b]
    merged[:, b] = -1
    after = merged.argmax(1) == np.where(labels == b, a, labels)
    before = probabilities.argmax(1) == labels
    return float(after.mean() - before.mean())


@dataclass(frozen=True)
class Conflict:
    """A text that occurs with different labels.

    Args:
        text: As it is written first.
        labels: How often it has each label, the most frequent first.
        rows: Places of its rows.
    """

    text: str
    labels: Mapping[str, int]
    rows: tuple[int, ...]


def conflicts(texts: Sequence[str], labels: Sequence[str]) -> list[Conflict]:
    """Texts that are equal once `normalised` and have different labels, in the order of the rows.

    Args:
        texts: N texts.
        labels: Of each.
    """
    groups: dict[str, list[int]] = {}
    for place, text in enumerate(texts):
        groups.setdefault(normalised(text), []).append(place)
    conflicts: list[Conflict] = []
    for rows in groups.values():
        counts = Counter(labels[row] for row in rows)
        if len(counts) > 1:
            conflicts.append(Conflict(texts[rows[0]], dict(counts.most_common()), tuple(rows)))
    return conflicts
