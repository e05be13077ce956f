"""The table of anchors × candidates that every softmax-type objective reads.

A method says where candidates come from, which of them are targets, and how much each counts. A *pairing* lays the
table out of embeddings; *transforms* replace it, left to right; an objective reduces each anchor's row to a number.
Rows are unit vectors, so similarity is their dot product (feature transformation leaves the sphere on purpose).

Letters: A anchors, C candidates, D dimensions, r anchors of one block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from textcl.arithmetic import widen
from textcl.heap import return_freed_memory
from textcl.types import ABSENT

TILE_ELEMENTS = 3 * 2**22
"""Logits of the table held at once; a larger table is reduced in blocks of anchors (48 MiB each in float32)."""

Rule = Callable[[Int[Tensor, " r"]], Float[Tensor, "r C"]]
"""Given the indices of some anchors, a number for each of their candidates."""

Mask = Callable[[Int[Tensor, " r"]], Bool[Tensor, "r C"]]
"""Given the indices of some anchors, whether each of their candidates is meant."""


@dataclass(frozen=True)
class Block:
    """The rows of some anchors, as an objective reads them.

    Args:
        rows: Indices of the anchors.
        logits: Similarity / temperature + log weight; -inf where a column is no candidate of the row.
        targets: Weight of each candidate as a target; all zero for an anchor without a positive.
        similarity: Dot products, of excluded columns too.
        temperature: What divided them.
    """

    rows: Int[Tensor, " r"]
    logits: Float[Tensor, "r C"]
    targets: Float[Tensor, "r C"]
    similarity: Float[Tensor, "r C"]
    temperature: float | Tensor

    @property
    def log_weights(self) -> Float[Tensor, "r C"]:
        """The part of the logits that is not similarity: ln of how often each candidate counts."""
        return self.logits - self.similarity / self.temperature

    @property
    def negatives(self) -> Bool[Tensor, "r C"]:
        """Candidates that are not targets."""
        return (self.targets == 0) & ~torch.isneginf(self.logits)


RowLoss = Callable[[Block], tuple[Float[Tensor, " r"], Float[Tensor, " r"]]]
"""Reduces each anchor's row to (its summed loss, how many terms it counts for in the mean).

An anchor that counts for 0 terms must have the loss 0.
"""


@dataclass(frozen=True)
class Contrast:
    """Anchors, candidates, and what each candidate is to each anchor.

    Args:
        anchors: Rows that look for their positive.
        candidates: Rows they choose from, gathered over processes.
        targets: Index of each anchor's positive, or a rule that weighs candidates as targets (rows sum to 1 or 0).
        log_weights: Rules added to the logits: 0 counts once, -inf is not a candidate, ln w counts w times.
        anchor_groups: Text identity of the anchors.
        candidate_groups: Text identity of the candidates.
        candidate_labels: Labels of the candidates, where the pairing reads them; queue columns have none.
        anchor_places: Row of the batch of all processes that each anchor is of, where the pairing says it.
        candidate_places: The same of the candidates; -1 for queue columns.
        candidate_partners: Text identity of the other text of each candidate's pair, where the pairing says it;
            `ABSENT` for hard negatives and queue columns.
        mixed_with: Which column each candidate was mixed with, itself where it was not; None where none was.
        queued: How many trailing columns come from a queue.
        census: Negatives per anchor by where they come from, for the log.
        masked: Which of them are masked for their text; None where nothing looks for them.
    """

    anchors: Float[Tensor, "A D"]
    candidates: Float[Tensor, "C D"]
    targets: Int[Tensor, " A"] | Rule
    log_weights: tuple[Rule, ...] = ()
    anchor_groups: Int[Tensor, " A"] | None = None
    candidate_groups: Int[Tensor, " C"] | None = None
    candidate_labels: Shaped[Tensor, "L ..."] | None = None
    anchor_places: Int[Tensor, " A"] | None = None
    candidate_places: Int[Tensor, " C"] | None = None
    candidate_partners: Int[Tensor, " C"] | None = None
    mixed_with: Int[Tensor, " C"] | None = None
    queued: int = 0
    census: Mapping[str, int] = field(default_factory=dict[str, int])
    masked: Mask | None = None

    def similarity(
        self, rows: Int[Tensor, " r"], anchors: Float[Tensor, "r D"] | None = None
    ) -> Float[Tensor, "r C"]:
        """Dot products of some anchors with all candidates, in float32 or wider whatever autocast says.

        Args:
            rows: Indices of the anchors.
            anchors: The same anchors themselves, where they are at hand: picking them out costs a gradient of all rows.
        """
        with torch.autocast(self.anchors.device.type, enabled=False):
            chosen = self.anchors[rows] if anchors is None else anchors
            return widen(chosen) @ widen(self.candidates).T

    def target_weights(self, rows: Int[Tensor, " r"]) -> Float[Tensor, "r C"]:
        """Targets of some anchors as weights."""
        if not isinstance(self.targets, Tensor):
            return self.targets(rows)
        weights = self.candidates.new_zeros((len(rows), len(self.candidates)), dtype=self.dtype)
        return weights.scatter_(1, self.targets[rows, None], 1.0)

    def block(
        self,
        rows: Int[Tensor, " r"],
        temperature: float | Tensor,
        anchors: Float[Tensor, "r D"] | None = None,
    ) -> Block:
        """Logits and targets of some anchors; arguments as of `similarity`."""
        similarity = self.similarity(rows, anchors)
        logits = similarity / temperature
        for rule in self.log_weights:
            logits = logits + rule(rows)
        return Block(rows, logits, self.target_weights(rows), similarity, temperature)

    def reduce(
        self, row_loss: RowLoss, temperature: float | Tensor = 1.0
    ) -> tuple[Float[Tensor, " A"], Float[Tensor, " A"]]:
        """Apply `row_loss` to every anchor without ever holding more than `TILE_ELEMENTS` logits.

        A larger table is walked in blocks of anchors whose logits are computed again in the backward pass, so that
        memory grows with A + C instead of A × C (Cheng et al. 2024, https://arxiv.org/abs/2410.17243).
        Value and gradient are those of the whole table.

        Returns:
            Loss and count of every anchor.
        """
        count, width = len(self.anchors), len(self.candidates)
        rows = torch.arange(count, device=self.anchors.device)
        size = max(1, TILE_ELEMENTS // max(1, width))
        if size >= count:
            return row_loss(self.block(rows, temperature, self.anchors))
        on_cpu = rows.device.type == "cpu"

        def reduce_block(rows: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
            if on_cpu:
                return_freed_memory()
            return row_loss(self.block(rows, temperature, anchors))

        parts = [
            checkpoint(reduce_block, *part, use_reentrant=False, preserve_rng_state=False)
            for part in zip(rows.split(size), self.anchors.split(size), strict=True)
        ]
        values, counts = zip(*parts, strict=True)
        return torch.cat(values), torch.cat(counts)

    def weighted(self, rule: Rule) -> Contrast:
        """The table with one more rule added to its logits."""
        return replace(self, log_weights=(*self.log_weights, rule))

    def with_columns(
        self, candidates: Float[Tensor, "Q D"], groups: Int[Tensor, " Q"] | None = None
    ) -> Contrast:
        """The table with more columns at its right end, negatives of every anchor."""
        extra = len(candidates)
        if groups is None:
            groups = torch.full((extra,), -1, device=candidates.device)
        targets = self.targets
        return replace(
            self,
            candidates=torch.cat([self.candidates, candidates.to(self.candidates)]),
            targets=targets if isinstance(targets, Tensor) else _with_zeros(targets, extra),
            log_weights=tuple(_with_zeros(rule, extra) for rule in self.log_weights),
            candidate_groups=None
            if self.candidate_groups is None
            else torch.cat([self.candidate_groups, groups]),
            candidate_places=_padded(self.candidate_places, extra, -1),
            candidate_partners=_padded(self.candidate_partners, extra, ABSENT),
            mixed_with=None if self.mixed_with is None else self._extended(self.mixed_with, extra),
            queued=self.queued + extra,
            census={**self.census, "queue": self.census.get("queue", 0) + extra},
        )

    def _extended(self, mixed_with: Tensor, extra: int) -> Tensor:
        """The same with further columns that are not mixed."""
        first = len(self.candidates)
        return torch.cat([mixed_with, torch.arange(first, first + extra, device=mixed_with.device)])

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the logits."""
        return widen(self.anchors[:0]).dtype


def _with_zeros(rule: Rule, extra: int) -> Rule:
    return lambda rows: torch.nn.functional.pad(rule(rows), (0, extra))


def _padded(values: Tensor | None, extra: int, filler: int) -> Tensor | None:
    return values if values is None else torch.nn.functional.pad(values, (0, extra), value=filler)


def exclude(mask: Mask, dtype: torch.dtype) -> Rule:
    """A rule that takes columns out of the table: -inf where `mask` of the anchors is True."""

    def rule(rows: Tensor) -> Tensor:
        hidden = mask(rows)
        return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(
            hidden, -math.inf
        )

    return rule
