"""Decisions of mining by anchor, and their counts for the summary and the audit."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from textcl.terminal import counted


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
        keep_short: Whether anchors with fewer are written, too.
        sample_size: Anchors that are kept whole.
        seed: Draws them.
        anchors: How many were searched.
        short: Those with too few negatives.
        pairs: Pairs written.
        candidates: Documents that were judged.
        rules: Candidates dropped, by rule; near-equal texts as far down as negatives were taken from.
        touched: Anchors for which a rule dropped something, by rule.
        scores: Scores of positives, of negatives kept and of candidates dropped.
        sample: Anchors drawn at random among those with enough negatives.
    """

    negatives: int
    keep_short: bool = False
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
        """Take an anchor into account; whether its pairs are written."""
        self.anchors += 1
        self.candidates += len(choice.negatives) + len(choice.dropped)
        reasons = [reason for _, names in choice.dropped for reason in names]
        self.rules.update(reasons)
        self.touched.update(set(reasons))
        self.scores["positive"].extend(each.score for each in choice.positives)
        self.scores["dropped"].extend(score for score, _ in choice.dropped)
        enough = len(choice.negatives) >= self.negatives
        self.short += not enough
        if enough:
            self._draw(choice)
        if enough or self.keep_short:
            self.scores["kept"].extend(each.score for each in choice.negatives)
            self.pairs += len(choice.positives)
        return enough or self.keep_short

    @property
    def summary(self) -> str:
        """Line on what was written and what was left out."""
        most = "up to " if self.keep_short else ""
        short = "fewer" if self.keep_short else "too few and are left out"
        return (
            f"{counted(self.pairs, 'pair')} with {most}{counted(self.negatives, 'negative')} each; "
            f"{self.short:,} of {self.anchors:,} anchors have {short}"
        )

    def _draw(self, choice: Choice) -> None:
        eligible = self.anchors - self.short
        if len(self.sample) < self.sample_size:
            self.sample.append(choice)
        elif (place := int(self._generator.integers(eligible))) < self.sample_size:
            self.sample[place] = choice


def triplet(
    choice: Choice, positive: Scored, negatives: int, *, reranked: bool
) -> dict[str, object]:
    """A row of the output: texts, ids, and the scores of the positive and of each negative, empty where it lacks."""
    documents = [positive, *choice.negatives]
    names = ["positive", *(f"negative_{place}" for place in range(1, negatives + 1))]
    record: dict[str, object] = {"anchor": choice.anchor}
    missing = [Scored("", "", 0.0, 0.0)] * (negatives - len(choice.negatives))
    named = list(zip(names, [*documents, *missing], strict=True))
    record |= {name: document.text for name, document in named}
    record |= {f"{name}_id": document.id for name, document in named}
    record["scores"] = [round(document.score, 6) for document in documents]
    if reranked:
        record["model_scores"] = [round(document.model_score, 6) for document in documents]
    return record
