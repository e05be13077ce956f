"""Hard negatives of pairs from a corpus on disk: exact search, rules that drop what may be relevant, scores kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from textcl.data.roles import text_group
from textcl.errors import RunError, UserError
from textcl.retrieval.choices import Choice, Scored
from textcl.retrieval.documents import Document
from textcl.retrieval.index import Index
from textcl.retrieval.mining import MiningRules, Threshold, absolute_margin, relative_margin, select
from textcl.retrieval.near import NearTexts
from textcl.retrieval.products import exact_pairs
from textcl.retrieval.store import StoredRows

EQUAL, NEAR, MARKED = "equal text", "near-equal text", "marked as relevant"
_SPARE = 8  # candidates searched beyond the range, for texts that are equal or nearly so
_BLOCK = 4096


@runtime_checkable
class Reranks(Protocol):
    """A `CrossEncoder` of sentence-transformers, or what scores pairs of texts as one does."""

    def predict(self, pairs: list[tuple[str, str]], /) -> object:
        """A score for every (anchor, document)."""
        ...


@dataclass(frozen=True)
class MiningOptions:
    """Rules and numbers by which documents become negatives of an anchor.

    Args:
        negatives: How many for each anchor.
        range_min: Ranks skipped, after all rules.
        range_max: Rank at which candidates end; None for ten times as many as asked for.
        absolute_margin: A negative scores at least this much below the weakest positive; None for no such rule.
        relative_margin: It scores at least this share of the positive's score below it, as NV-Retriever; None for none.
        max_score: It scores no higher; None for no bound.
        min_score: It scores no lower; None for no bound.
        near: It shares less than this share of trigrams with the anchor and the positives; above 1, no such rule.
        sampling: "top" takes the best that pass, "random" draws among them.
        seed: Of the draws.
        keep_short: Whether anchors with fewer negatives are written, too, with those that they have.

    Raises:
        UserError: If a number is out of range.

    Source: Moreira et al. 2024, https://arxiv.org/abs/2407.15831
    """

    negatives: int = 4
    range_min: int = 0
    range_max: int | None = None
    absolute_margin: float | None = None
    relative_margin: float | None = 0.05
    max_score: float | None = None
    min_score: float | None = None
    near: float = 0.9
    sampling: Literal["top", "random"] = "top"
    seed: int = 0
    keep_short: bool = False

    def __post_init__(self) -> None:
        for name in ("absolute_margin", "relative_margin"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise UserError(f"{name} must be 0 or more, got {value}")
        if not self.near > 0:
            raise UserError(f"near must be above 0, got {self.near}")

    @cached_property
    def margins(self) -> dict[str, Threshold]:
        """The rules that compare with the weakest positive, by name."""
        rules: dict[str, Threshold] = {}
        if self.absolute_margin is not None:
            rules[f"within {self.absolute_margin:g} of the positive"] = absolute_margin(
                self.absolute_margin
            )
        if self.relative_margin is not None:
            share = f"above {100 * (1 - self.relative_margin):g} % of the positive's score"
            rules[share] = relative_margin(self.relative_margin)
        return rules

    @cached_property
    def rules(self) -> MiningRules:
        """All rules on scores and ranks."""
        return MiningRules(
            negatives=self.negatives,
            range_min=self.range_min,
            range_max=self.range_max,
            thresholds=tuple(self.margins.values()),
            max_score=float("inf") if self.max_score is None else self.max_score,
            min_score=float("-inf") if self.min_score is None else self.min_score,
        )

    def reasons(self, score: float, weakest: float) -> list[str]:
        """The rules on scores that drop a candidate, beside a positive of the score `weakest`."""
        reasons = [name for name, rule in self.margins.items() if score > rule(weakest)]
        if self.max_score is not None and score > self.max_score:
            reasons.append(f"above {self.max_score:g}")
        if self.min_score is not None and score < self.min_score:
            reasons.append(f"below {self.min_score:g}")
        return reasons


class Miner:
    """Finds the negatives of anchors in an index.

    Args:
        index: Of the corpus, the positives among its documents.
        options: Which documents become negatives.
        reranker: Scores the candidates again; the rules then judge its scores.
        marked: Identities of documents that are relevant, by identity of the anchor (see `text_group`).
    """

    def __init__(
        self,
        index: Index,
        options: MiningOptions,
        reranker: Reranks | None = None,
        marked: Mapping[int, frozenset[int]] | None = None,
    ) -> None:
        self.index, self.options, self.reranker = index, options, reranker
        self._marked = marked or {}
        self._groups = index.rows.groups
        self._order = np.argsort(self._groups, kind="stable")
        self._generator = (
            np.random.default_rng(options.seed) if options.sampling == "random" else None
        )
        if len(index) <= options.negatives:
            raise UserError(
                f"a corpus of {len(index):,} documents cannot give {options.negatives} negatives: "
                "add documents or ask for fewer"
            )

    def row_of(self, text: str) -> int:
        """The first document with a text, which the index must have."""
        group = text_group(text)
        return int(self._order[np.searchsorted(self._groups, group, sorter=self._order)])

    def mine(
        self,
        anchors: Sequence[str],
        vectors: Float[Tensor, "Q D"],
        positives: Sequence[Sequence[str]],
    ) -> Iterator[Choice]:
        """Decision on each anchor, in their order.

        Args:
            anchors: Texts.
            vectors: Their vectors.
            positives: Texts of the positives of each, which the index has.

        Raises:
            RunError: If a score of the reranker is not finite.
        """
        rules = self.options.rules
        most = max(map(len, positives), default=0)
        last = rules.last_rank(most)
        for start in range(0, len(anchors), _BLOCK):
            part = slice(start, start + _BLOCK)
            own = [[self.row_of(text) for text in texts] for texts in positives[part]]
            hits = self.index.nearest(vectors[part], last + most + _SPARE)
            documents = _Documents(self.index.rows)
            retrieved = zip(hits.rows.tolist(), hits.scores.tolist(), strict=True)
            own_scores = self._own_scores(vectors[part], own)
            for anchor, rows, pairs in zip(anchors[part], own_scores, retrieved, strict=True):
                candidates = [pair for pair in zip(*pairs, strict=True) if pair[0] >= 0]
                yield self._choose(anchor, rows, candidates, documents, last)

    def _own_scores(self, queries: Tensor, own: list[list[int]]) -> list[dict[int, float]]:
        """Scores of the positives of each query by their rows, read in one pass."""
        flat = [row for rows in own for row in rows]
        repeats = torch.tensor([len(rows) for rows in own])
        stored = self.index.rows.vectors[flat].float()
        scores = iter(exact_pairs(queries.repeat_interleave(repeats, dim=0), stored).tolist())
        return [{row: next(scores) for row in rows} for rows in own]

    def _choose(
        self,
        anchor: str,
        positives: Mapping[int, float],
        candidates: list[tuple[int, float]],
        documents: _Documents,
        last: int,
    ) -> Choice:
        own = list(positives)
        others = {row: score for row, score in candidates if row not in positives}
        banned = self._known(anchor, own, list(others))
        allowed = {row: score for row, score in others.items() if row not in banned}
        near = NearTexts([anchor, *(documents[row].text for row in own)], self.options.near)
        weakest = min(positives.values())
        banned |= dict.fromkeys(self._near(allowed, weakest, last, near, documents), NEAR)
        by_model = {**others, **positives}
        open_rows = [row for row in allowed if row not in banned]
        scores = self._scores(anchor, [*own, *open_rows], by_model, documents)
        judged = [(row, scores[row]) for row in open_rows]
        if self.reranker is not None:
            judged.sort(key=itemgetter(1), reverse=True)
        own_scores = [scores[row] for row in own]
        mined = select(own, own_scores, judged, self.options.rules, last, self._generator)

        def scored(row: int) -> Scored:
            document = documents[row]
            return Scored(document.id, document.text, scores[row], by_model[row])

        weakest = min(own_scores)
        dropped = [
            (scores[row], self.options.reasons(scores[row], weakest)) for row in mined.dropped
        ]
        dropped += [(scores.get(row, by_model[row]), [reason]) for row, reason in banned.items()]
        return Choice(anchor, [*map(scored, own)], [*map(scored, mined.rows)], dropped)

    def _known(self, anchor: str, own: list[int], rows: list[int]) -> dict[int, str]:
        """Candidates whose text rules them out whatever the options, with the reason."""
        group = text_group(anchor)
        seen = {group, *self._groups[own].tolist()}
        marked = self._marked.get(group, frozenset[int]())
        identities: list[int] = self._groups[rows].tolist()
        banned: dict[int, str] = {}
        if len({*seen, *marked, *identities}) == len({*seen, *marked}) + len(rows):
            return banned  # as for most anchors
        for row, identity in zip(rows, identities, strict=True):
            if identity in seen:
                banned[row] = EQUAL
            elif identity in marked:
                banned[row] = MARKED
            seen.add(identity)
        return banned

    def _near(
        self,
        candidates: Mapping[int, float],
        weakest: float,
        last: int,
        near: NearTexts,
        documents: _Documents,
    ) -> Iterator[int]:
        """Candidates that are nearly the anchor or a positive, as far down as negatives are taken from."""
        if self.options.near > 1:
            return
        lowest, highest = self.options.rules.bounds(weakest)
        wanted = self.options.range_min + self.options.negatives
        if self._generator is not None:
            wanted = last
        if self.reranker is not None:  # its scores may take any of them
            wanted = len(candidates) + 1
        for row, score in candidates.items():
            if documents[row].text in near:
                yield row
            elif lowest <= score <= highest:
                wanted -= 1
                if not wanted:
                    return

    def _scores(
        self,
        anchor: str,
        rows: list[int],
        by_model: Mapping[int, float],
        documents: _Documents,
    ) -> Mapping[int, float]:
        if self.reranker is None:
            return by_model
        given = self.reranker.predict([(anchor, documents[row].text) for row in rows])
        scores = np.asarray(given, np.float64)
        if scores.shape != (len(rows),) or not np.isfinite(scores).all():
            raise RunError(
                f"the reranker must give one finite score for each of {len(rows)} documents of the anchor "
                f"{anchor!r:.80}; it gave {scores.size} numbers, {int((~np.isfinite(scores)).sum())} of them not finite"
            )
        return dict(zip(rows, scores.tolist(), strict=True))


class _Documents(dict[int, Document]):
    """Documents of an index by their rows, read when they are asked for."""

    def __init__(self, rows: StoredRows) -> None:
        super().__init__()
        self._rows = rows

    def __missing__(self, row: int) -> Document:
        self[row] = self._rows.document(row)
        return self[row]


def read_vectors(values: Float[np.ndarray, "Q D"]) -> Tensor:
    """Vectors of anchors as a tensor.

    Raises:
        RunError: If one is not finite.
    """
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise RunError(f"the model gave a vector that is not finite for anchor {bad[0] + 1:,}")
    return torch.from_numpy(values)
