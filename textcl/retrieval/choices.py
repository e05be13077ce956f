"""Decisions of mining by anchor, and their counts for the summary and the audit."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Scored:
    """A document beside an anchor.

    Args:
        id: Its id.
        text: Its text.
        score: What the rules judge: that of the reranker, else of the model.
        model_score: That of the model.
    """

    id: str
    text: str
    score: float
    model_score: float


@dataclass(frozen=True)
class Choice:
    """Decision on the documents of one anchor.

    Args:
        anchor: Its text.
        positives: Its positives.
        negatives: Those taken, best first; fewer than asked for where too few passed.
        dropped: Score of every candidate that a rule dropped, with the names of the rules.
    """

    anchor: str
    positives: list[Scored]
    negatives: list[Scored]
    dropped: list[tuple[float, list[str]]]


@dataclass
class Tally:
    """Counts over all anchors, for the summary and the audit.

    Args:
        negatives: Asked for, for each anchor.
        sample_size: Anchors that are kept whole.
        seed: Draws them.
        anchors: How many were searched.
        short: Those with too few negatives, which are left out.
        pairs: Pairs written.
        candidates: Documents that were judged.
        rules: Candidates dropped, by rule; near-equal texts as far down as negatives were taken from.
        touched: Anchors for which a rule dropped something, by rule.
        scores: Scores of positives, of negatives kept and of candidates dropped.
        sample: Anchors drawn at random among those written.
    """

    negatives: int
    sample_size: int = 50
    seed: int = 0
    anchors: int = 0
    short: int = 0
    pairs: int = 0
    candidates: int = 0
    rules: Counter[str] = field(default_factory=Counter[str])
    touched: Counter[str] = field(default_factory=Counter[str])
    scores: dict[str, array[float]] = field(
        default_factory=lambda: {name: array("f") for name in ("positive", "kept", "dropped")}
    )
    sample: list[Choice] = field(default_factory=list[Choice])

    def __post_init__(self) -> None:
        self._generator = np.random.default_rng(self.seed)

    def count(self, choice: Choice) -> bool:
        """Take an anchor into account; whether it has enough negatives."""
        self.anchors += 1
        self.candidates += len(choice.negatives) + len(choice.dropped)
        reasons = [reason for _, names in choice.dropped for reason in names]
        self.rules.update(reasons)
        self.touched.update(set(reasons))
        self.scores["positive"].extend(each.score for each in choice.positives)
        self.scores["dropped"].extend(score for score, _ in choice.dropped)
        if len(choice.negatives) < self.negatives:
            self.short += 1
            return False
        self.scores["kept"].extend(each.score for each in choice.negatives)
        self.pairs += len(choice.positives)
        self._draw(choice)
        return True

    def _draw(self, choice: Choice) -> None:
        written = self.anchors - self.short
        if len(self.sample) < self.sample_size:
            self.sample.append(choice)
        elif (place := int(self._generator.integers(written))) < self.sample_size:
            self.sample[place] = choice


def triplet(choice: Choice, positive: Scored, *, reranked: bool) -> dict[str, object]:
    """A row of the output: texts, ids, and the scores of the positive and of each negative."""
    documents = [positive, *choice.negatives]
    names = ["positive", *(f"negative_{place}" for place in range(1, len(documents)))]
    record: dict[str, object] = {"anchor": choice.anchor}
    record |= {name: document.text for name, document in zip(names, documents, strict=True)}
    record |= {f"{name}_id": document.id for name, document in zip(names, documents, strict=True)}
    record["scores"] = [round(document.score, 6) for document in documents]
    if reranked:
        record["model_scores"] = [round(document.model_score, 6) for document in documents]
    return record
