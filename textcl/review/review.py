"""Review labelled texts by their vectors: every row judged by models that did not see it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from textcl.arithmetic import unit_rows
from textcl.data.arguments import checked_arguments
from textcl.data.splits import normalised
from textcl.data.texts import as_texts
from textcl.errors import UserError
from textcl.review.alike import Alike, Conflict, classes_alike, conflicts
from textcl.review.suspects import cross_validated, find_suspects, require_cleanlab
from textcl.terminal import counted

NEIGHBOURS, _ROWS = 5, 1024


@dataclass(frozen=True)
class JudgedRow:
    """A row, and what the models make of it.

    Args:
        row: Its number, from 1, blank rows not counted.
        text: Its text.
        label: The given label.
        suggested: The most probable class.
        probability: Of the given label.
        suggested_probability: Of the most probable class.
        suspected: Whether confident learning takes the label for wrong.
    """

    row: int
    text: str
    label: str
    suggested: str
    probability: float
    suggested_probability: float
    suspected: bool


@dataclass(frozen=True)
class Near:
    """A row near another.

    Args:
        row: Its number, from 1.
        text: Its text.
        label: Its label.
        cosine: Of both vectors.
    """

    row: int
    text: str
    label: str
    cosine: float


@dataclass(frozen=True)
class Review:
    """The result of a review.

    Args:
        rows: All judged rows, the most suspicious first.
        neighbours: Rows nearest to each of the first rows, as many as are shown.
        alike: Classes that look alike.
        conflicts: Equal texts with different labels.
        accuracy: Share of the rows whose label is the most probable class.
        classes: Number of classes.
        unjudged: Rows whose class has no other text, so that no model could learn it without them.
    """

    rows: Sequence[JudgedRow]
    neighbours: Sequence[Sequence[Near]]
    alike: Sequence[Alike]
    conflicts: Sequence[Conflict]
    accuracy: float
    classes: int
    unjudged: int

    @property
    def suspected(self) -> int:
        """Number of rows whose label is taken for wrong."""
        return sum(row.suspected for row in self.rows)

    def describe(self) -> str:
        """One line for the terminal."""
        notes = [
            f"{self.suspected:,} of {len(self.rows):,} labels suspected",
            f"{counted(len(self.alike), 'pair')} of classes that look alike",
            f"{counted(len(self.conflicts), 'text')} with different labels",
            f"accuracy × 100 {100 * self.accuracy:.2f} over {self.classes:,} classes, cross-validated",
            f"{counted(self.unjudged, 'row')} not judged, being the only text of their class"
            if self.unjudged
            else "",
        ]
        return "; ".join(filter(None, notes))


@checked_arguments
def review_labels(
    vectors: Float[np.ndarray, "N D"],
    texts: Iterable[str],
    labels: Iterable[str],
    *,
    shown: int = 100,
    seed: int = 0,
) -> Review:
    """Judge every label by logistic regressions on vectors, none of which saw the row.

    Args:
        vectors: Of the texts; best of an encoder that was not trained on these labels, whose mistakes it would have
            learnt.
        texts: N texts.
        labels: A class name for each.
        shown: Rows whose neighbours are looked up.
        seed: Of the folds.

    Raises:
        UserError: If there are fewer than two classes with two texts, or cleanlab is not installed.
    """
    require_cleanlab()
    texts, labels = list(as_texts(texts)), list(as_texts(labels))
    if not len(vectors) == len(texts) == len(labels):
        raise UserError(
            f"expected as many vectors as texts and labels, got {len(vectors):,}, {len(texts):,} and {len(labels):,}"
        )
    kept = _judged(texts, labels)
    names, ids = np.unique([labels[place] for place in kept.tolist()], return_inverse=True)
    if len(names) < 2:
        raise UserError(
            f"a review takes two classes or more with two distinct texts each, got {len(names)}"
        )
    chosen = [str(texts[place]) for place in kept.tolist()]
    probabilities = cross_validated(vectors[kept], chosen, ids, seed)
    suspects = find_suspects(ids, probabilities)
    best = probabilities.argmax(1)
    rows = [
        JudgedRow(
            int(kept[at]) + 1,
            chosen[at],
            str(names[ids[at]]),
            str(names[best[at]]),
            float(probabilities[at, ids[at]]),
            float(probabilities[at, best[at]]),
            bool(suspects.suspected[at]),
        )
        for at in suspects.order.tolist()
    ]
    return Review(
        rows,
        _neighbours([row.row - 1 for row in rows[:shown]], vectors, texts, labels),
        classes_alike(ids, probabilities, names.tolist()),
        conflicts(texts, labels),
        float((best == ids).mean()),
        len(names),
        len(texts) - len(kept),
    )


def _judged(texts: Sequence[str], labels: Sequence[str]) -> Int[np.ndarray, " M"]:
    """Rows whose class has another text."""
    distinct: dict[str, set[str]] = {}
    for text, label in zip(texts, labels, strict=True):
        distinct.setdefault(label, set()).add(normalised(text))
    return np.array([n for n, label in enumerate(labels) if len(distinct[label]) > 1], np.int64)


def _neighbours(
    places: Sequence[int],
    vectors: Float[np.ndarray, "N D"],
    texts: Sequence[str],
    labels: Sequence[str],
) -> list[list[Near]]:
    """The nearest other rows of some rows."""
    unit = unit_rows(vectors)
    neighbours: list[list[Near]] = []
    for start in range(0, len(places), _ROWS):
        part = np.array(places[start : start + _ROWS], dtype=np.int64)
        cosines = unit[part] @ unit.T
        cosines[np.arange(len(part)), part] = -np.inf
        for row in cosines:
            order = np.argsort(-row, kind="stable")[: min(NEIGHBOURS, len(texts) - 1)]
            nearest: list[int] = order.tolist()
            neighbours.append([Near(n + 1, texts[n], labels[n], float(row[n])) for n in nearest])
    return neighbours
