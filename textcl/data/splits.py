"""Holding rows out of the training data: equal texts stay together, every class keeps its share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Int

from textcl.arithmetic import exact_fraction
from textcl.data.texts import normal_text
from textcl.errors import UserError
from textcl.terminal import counted


@dataclass(frozen=True)
class Split:
    """Places of the rows that stay and of those that were held out, each in ascending order.

    Args:
        kept: Rows to train on.
        held: Rows that are held out.
        held_classes: Classes of which a row was held out.
        classes: All classes; 0 where rows have no labels.
    """

    kept: list[int]
    held: list[int]
    held_classes: int
    classes: int

    @property
    def share(self) -> float:
        """The share of the rows that was really held out."""
        return len(self.held) / (len(self.kept) + len(self.held))

    def describe(self) -> str:
        """One line for the terminal."""
        total = len(self.kept) + len(self.held)
        line = f"{len(self.held):,} of {counted(total, 'row')} ({100 * self.share:.1f} %)"
        if not self.classes:
            return line
        return f"{line}, with rows of {self.held_classes:,} of {self.classes:,} classes"


def normalised(text: str) -> str:
    """The text without what keeps equal texts apart: Unicode form, case, and the amount of white space."""
    return " ".join(normal_text(text).casefold().split())


def hold_out(
    texts: Sequence[str],
    labels: Sequence[str | Sequence[str]] | None,
    share: float,
    seed: int,
) -> Split:
    """A stratified split in which no text lies on both sides.

    Rows whose texts are equal once `normalised` go to the same side. Each class gives `share` of its distinct texts:
    whole numbers first, then what is missing by the largest remainders, but at least one of each class that has two,
    and never the last one. A text with several labels counts for the rarest of them.

    Args:
        texts: N texts.
        labels: The label of each text, or its several labels; None for one class.
        share: Of the distinct texts, between 0 and 1.
        seed: Everything drawn follows from it.

    Raises:
        UserError: If `share` is not between 0 and 1, or nothing can be held out.
    """
    if not 0 < share < 1:
        raise UserError(f"the share to hold out must lie between 0 and 1, and {share:g} does not")
    groups: dict[str, list[int]] = {}
    for place, text in enumerate(texts):
        groups.setdefault(normalised(text), []).append(place)
    rows_of = list(groups.values())
    names_of = [_names(labels, rows) for rows in rows_of]
    by_class = _by_rarest(names_of)
    counts = _seats([len(places) for places in by_class], exact_fraction(share))
    rng = np.random.Generator(np.random.PCG64(seed))
    chosen = [
        place
        for places, count in zip(by_class, counts, strict=True)
        for place in rng.permutation(places)[:count].tolist()
    ]
    if not chosen:
        raise UserError(
            f"holding out {share:g} of {len(texts):,} rows leaves none for dev, because every class has only one "
            "distinct text: name a file of labelled texts instead"
        )
    held = sorted(row for place in chosen for row in rows_of[place])
    kept = np.setdiff1d(np.arange(len(texts)), held).tolist()
    if labels is None:
        return Split(kept, held, 0, 0)
    held_classes = set[str]().union(*(names_of[place] for place in chosen))
    return Split(kept, held, len(held_classes), len(set[str]().union(*names_of)))


def fold_of(
    texts: Sequence[str], labels: Sequence[object], folds: int, seed: int
) -> Int[np.ndarray, " N"]:
    """Fold of each row: equal texts are in one, and each class is spread evenly.

    Args:
        texts: N texts; those that are equal once `normalised` stay together.
        labels: The label of each; of equal texts that of the first counts.
        folds: Their number.
        seed: Everything drawn follows from it.
    """
    groups: dict[str, list[int]] = {}
    for place, text in enumerate(texts):
        groups.setdefault(normalised(text), []).append(place)
    rows_of = list(groups.values())
    ids = np.unique([str(labels[rows[0]]) for rows in rows_of], return_inverse=True)[1]
    drawn = np.random.Generator(np.random.PCG64(seed)).permutation(len(rows_of))
    order = drawn[np.argsort(ids[drawn], kind="stable")]
    numbers = np.zeros(len(texts), dtype=np.int64)
    for position, group in enumerate(order.tolist()):
        numbers[rows_of[group]] = position % folds
    return numbers


def distinct_texts(texts: Sequence[str], labels: Sequence[object]) -> Counter[str]:
    """Number of different texts of each label, as `fold_of` counts them.

    Args:
        texts: N texts; those that are equal once `normalised` are one.
        labels: The label of each; of equal texts that of the first counts.
    """
    label_of: dict[str, str] = {}
    for text, label in zip(texts, labels, strict=True):
        label_of.setdefault(normalised(text), str(label))
    return Counter(label_of.values())


def _names(labels: Sequence[str | Sequence[str]] | None, rows: Sequence[int]) -> set[str]:
    """All labels of some rows; the empty name stands for a row without any."""
    if labels is None:
        return {""}
    several = (labels[row] for row in rows)
    return {name for one in several for name in ([one] if isinstance(one, str) else one)} or {""}


def _by_rarest(names_of: Sequence[set[str]]) -> list[list[int]]:
    """Places of the groups by class, classes in the order of their names."""
    counts = Counter(name for names in names_of for name in names)
    by_class: dict[str, list[int]] = {}
    for place, names in enumerate(names_of):
        rarest = min(names, key=lambda name: (counts[name], name))
        by_class.setdefault(rarest, []).append(place)
    return [by_class[name] for name in sorted(by_class)]


def _seats(sizes: Sequence[int], share: Fraction) -> list[int]:
    """Rows to take of each class, by largest remainders, at least one where there are two.

    Source: Hamilton's method of apportionment.
    """
    quotas = [share * size for size in sizes]
    seats = [math.floor(quota) for quota in quotas]
    missing = math.floor(share * sum(sizes) + Fraction(1, 2)) - sum(seats)
    order = sorted(range(len(sizes)), key=lambda place: (seats[place] - quotas[place], place))
    for place in order[:missing]:
        seats[place] += 1
    return [min(max(count, 1), size - 1) for count, size in zip(seats, sizes, strict=True)]
