"""Dev score of a linker, which selects its weights: held-out names look for another name of their concept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from textcl.data.rows import Rows
from textcl.data.splits import normalised
from textcl.encoder.encoder import Encoder
from textcl.encoder.shared import SharedEncoder
from textcl.errors import UserError
from textcl.evaluation.linking import nearest_names

MOST_NAMES = 5_000
"""Names that held-out ones are looked for among, at most."""

_MOST_HELD_OUT = 500
_FEWEST = 3  # names of a concept that gives one: two are left, which make a pair


@dataclass(frozen=True)
class DevNames:
    """Names with their concepts that select weights.

    Args:
        name: What a reader calls them.
        held: Names that are looked for.
        held_concepts: Their concepts.
        names: The dictionary.
        concepts: Concept of each name of it.
        note: What a reader must know about the data.
    """

    name: str
    held: Sequence[str]
    held_concepts: Sequence[str]
    names: Sequence[str]
    concepts: Sequence[str]
    note: str = ""

    @property
    def protocol(self) -> str:
        """Protocol of the score."""
        return f"{self.name}, accuracy of the nearest name × 100 by dot product, float32"

    @property
    def size(self) -> str:
        """Size of the data, in words."""
        return f"{len(self.held):,} names, {len(self.names):,} in the dictionary"

    @property
    def texts(self) -> Sequence[str]:
        """All names."""
        return [*self.held, *self.names]

    def __call__(self, model: Encoder | SharedEncoder) -> float:
        """The share of held-out names × 100 whose nearest name is of their concept."""
        sides = [
            model.encode(list(texts), precision="float32") for texts in (self.held, self.names)
        ]
        near = nearest_names(*sides, k=1)[:, 0].tolist()
        right = [
            self.concepts[place] == concept
            for place, concept in zip(near, self.held_concepts, strict=True)
        ]
        return 100 * sum(right) / len(right)


def hold_out_names(rows: Rows, share: float, seed: int) -> tuple[Rows, DevNames]:
    """The rows that stay, and some names that do not: one of a concept with three or more, at most 500.

    A name that stands there twice, whatever its concepts, stays.

    Args:
        rows: With the roles text and label.
        share: Of the names.
        seed: Everything drawn follows from it.

    Raises:
        UserError: If no concept has three names.
    """
    texts, labels = rows.strings("text"), rows.column("label")
    forms = [normalised(text) for text in texts]
    often, sizes = Counter(forms), Counter(labels)
    draws = np.random.Generator(np.random.PCG64(seed))
    order = draws.permutation(len(texts)).tolist()
    wanted = min(_MOST_HELD_OUT, max(1, int(share * len(texts))))
    chosen: dict[str, int] = {}
    for place in order:
        if len(chosen) == wanted:
            break
        if sizes[labels[place]] >= _FEWEST and often[forms[place]] == 1:
            chosen.setdefault(labels[place], place)
    if not chosen:
        raise UserError(
            f"{rows.report.source}: no concept has {_FEWEST} different names, of which one could be held out: "
            "leave --dev out, or bring more synonyms"
        )
    held = sorted(chosen.values())
    out = set(held)
    kept = [place for place in range(len(texts)) if place not in out]
    own = [place for place in kept if labels[place] in chosen]
    others = [place for place in order if labels[place] not in chosen]
    shown = sorted([*own, *others[: max(0, MOST_NAMES - len(own))]])
    dev = DevNames(
        f"{len(held):,} of {len(texts):,} names, held out",
        [texts[place] for place in held],
        [labels[place] for place in held],
        [texts[place] for place in shown],
        [labels[place] for place in shown],
    )
    return rows.take(kept), dev
