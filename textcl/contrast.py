"""The table of anchors × candidates that every softmax-type objective reads.

A method says where candidates come from, which of them are targets, and how much each counts. A *pairing* lays the
table out of embeddings; *transforms* replace it, left to right; an objective reduces each anchor's row to a number.
Rows are unit vectors, so similarity is their dot product (feature transformation leaves the sphere on purpose).

Letters: A anchors, C candidates, D dimensions, r anchors of one block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from textcl.arithmetic import unit, widen
from textcl.distributed import World
from textcl.heap import give_large_blocks_back
from textcl.types import Embeddings

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
        memory grows with A + C instead of A × C (methods.md M.2; Cheng et al. 2024, https://arxiv.org/abs/2410.17243).
        Value and gradient are those of the whole table.

        Returns:
            Loss and count of every anchor.
        """
        count, width = len(self.anchors), len(self.candidates)
        rows = torch.arange(count, device=self.anchors.device)
        size = max(1, TILE_ELEMENTS // max(1, width))
        if size >= count:
            return row_loss(self.block(rows, temperature, self.anchors))
        if rows.device.type == "cpu":
            give_large_blocks_back()

        def reduce_block(rows: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
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

    def with_queue(
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
            queued=self.queued + extra,
            census={**self.census, "queue": self.census.get("queue", 0) + extra},
        )

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the logits."""
        return widen(self.anchors[:0]).dtype


def _with_zeros(rule: Rule, extra: int) -> Rule:
    return lambda rows: torch.nn.functional.pad(rule(rows), (0, extra))


def exclude(mask: Mask, dtype: torch.dtype) -> Rule:
    """A rule that takes columns out of the table: -inf where `mask` of the anchors is True."""

    def rule(rows: Tensor) -> Tensor:
        hidden = mask(rows)
        return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(
            hidden, -math.inf
        )

    return rule


def cross_entropy(block: Block) -> tuple[Tensor, Tensor]:
    """Σ targets · -log softmax(logits); an anchor without target counts for nothing."""
    counted = block.targets.sum(1) > 0
    logits = block.logits.masked_fill(~counted[:, None], 0.0)
    aimed = torch.where(block.targets > 0, logits, 0.0)
    value = torch.logsumexp(logits, 1) * block.targets.sum(1) - (aimed * block.targets).sum(1)
    return value, counted.to(value.dtype)


@runtime_checkable
class Pairing(Protocol):
    """Lays out the table."""

    def __call__(self, z: Embeddings, world: World) -> Contrast:
        """The table of the embeddings of this process against those of all processes."""
        ...


@runtime_checkable
class Transform(Protocol):
    """Replaces the table by another."""

    def __call__(self, contrast: Contrast, z: Embeddings) -> Contrast:
        """The changed table."""
        ...


def lay_out(
    z: Embeddings, pairing: Pairing, transforms: Sequence[Transform], world: World
) -> Contrast:
    """The table of `z` after all transforms."""
    contrast = pairing(z, world)
    for transform in transforms:
        contrast = transform(contrast, z)
    return contrast


@dataclass(frozen=True)
class AnchorPositive:
    """Each anchor against all positives of the batch, and all hard negatives where there are any.

    Args:
        anchor: Name of the anchors.
        positive: Name of the positives; row i is anchor i's.
        negatives: Names of hard negatives; row i of each belongs to anchor i.
        hard_negative_weight: Added to the logit of an anchor's own hard negatives: ln of how often they count.

    Source: methods.md A.1; Gao et al. 2021, https://arxiv.org/abs/2104.08821
    """

    anchor: str = "anchor"
    positive: str = "positive"
    negatives: Sequence[str] = ()
    hard_negative_weight: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """The embeddings it reads."""
        return (self.anchor, self.positive, *self.negatives)

    def __call__(self, z: Embeddings, world: World) -> Contrast:
        """The table of `z`."""
        rows = len(z)
        sources = [self.positive, *self.negatives]
        gathered = [world.gather(unit(z[name])) for name in sources]
        first, total = world.offset(rows), len(gathered[0])
        own = first + torch.arange(rows, device=z.rows.device)
        contrast = Contrast(
            anchors=unit(z[self.anchor]),
            candidates=torch.cat(gathered),
            targets=own,
            anchor_groups=z.group(self.anchor),
            candidate_groups=torch.cat([world.gather(z.group(name)) for name in sources]),
            census=_census(rows, total, len(self.negatives)),
        )
        if not self.negatives or self.hard_negative_weight == 0:
            return contrast

        def own_hard_negatives(rows: Tensor) -> Tensor:
            shape = (len(rows), len(contrast.candidates))
            weight = torch.zeros(shape, dtype=contrast.dtype, device=rows.device)
            for block in range(1, len(sources)):
                weight.scatter_(1, (own[rows] + block * total)[:, None], self.hard_negative_weight)
            return weight

        return contrast.weighted(own_hard_negatives)


def _census(rows: int, total: int, negatives: int) -> dict[str, int]:
    parts = {"in-batch": rows - 1, "gathered": total - rows, "hard": negatives * total}
    return {kind: count for kind, count in parts.items() if count or kind == "in-batch"}


@dataclass(frozen=True)
class AllViews:
    """Every view of every row against all others: 2B anchors for two views, itself excluded.

    Args:
        names: The views.
        same: "rows": the other views of the same row are the targets. "labels": all rows with the same label; with
            multi-hot labels, in proportion to the shared share |y ∩ y'| / |y ∪ y'|.

    Source: methods.md A.4 and D.1; Chen et al. 2020, https://arxiv.org/abs/2002.05709; Khosla et al. 2020,
        https://arxiv.org/abs/2004.11362
    """

    names: Sequence[str] = ("anchor", "positive")
    same: str = "rows"

    def __post_init__(self) -> None:
        if self.same not in ("rows", "labels"):
            raise ValueError(f'same must be "rows" or "labels", not "{self.same}"')

    def __call__(self, z: Embeddings, world: World) -> Contrast:
        """The table of `z`."""
        rows, views = len(z), len(self.names)
        anchors = [unit(z[name]) for name in self.names]
        candidates = torch.cat([world.gather(x) for x in anchors])
        total, first = len(candidates) // views, world.offset(rows)
        here = torch.arange(rows, device=z.rows.device)
        slots = torch.cat([v * total + first + here for v in range(views)])
        columns = torch.arange(len(candidates), device=z.rows.device)
        dtype = candidates.dtype
        labels = _labels(z, world, views) if self.same == "labels" else None
        identities = columns % total if labels is None else labels

        def targets(rows: Tensor) -> Tensor:
            shared = _shared_labels(identities[slots[rows]], identities).to(dtype)
            weights = shared.scatter(1, slots[rows, None], 0.0)
            return weights / weights.sum(1, keepdim=True).clamp(min=torch.finfo(dtype).tiny)

        return Contrast(
            anchors=torch.cat(anchors),
            candidates=candidates,
            targets=targets,
            log_weights=(exclude(lambda rows: slots[rows, None] == columns, dtype),),
            anchor_groups=torch.cat([z.group(name) for name in self.names]),
            candidate_groups=torch.cat([world.gather(z.group(name)) for name in self.names]),
            candidate_labels=labels,
            census={"in-batch": views * (rows - 1), "gathered": views * (total - rows)}
            if total > rows
            else {"in-batch": views * (rows - 1)},
        )


def _labels(z: Embeddings, world: World, views: int) -> Tensor:
    if z.labels is None:
        raise ValueError('AllViews(same="labels") needs labels, and the batch has none')
    return world.gather(z.labels).repeat(views, *[1] * (z.labels.ndim - 1))


def _shared_labels(mine: Tensor, theirs: Tensor) -> Tensor:
    if mine.ndim == 1:
        return mine[:, None] == theirs
    with torch.autocast(mine.device.type, enabled=False):
        shared = mine @ theirs.T
    union = mine.sum(1, keepdim=True) + theirs.sum(1) - shared
    return shared / union.clamp(min=1)


@dataclass(frozen=True)
class MaskDuplicates:
    """Takes a column out where it holds the text of the anchor or of its positive, but is not its positive.

    Two equal sentences in a batch otherwise cost each of their anchors about ln 2, whatever the encoder does.

    Source: methods.md 0, policy on duplicates
    """

    def __call__(self, contrast: Contrast, z: Embeddings) -> Contrast:
        """The table without false negatives of equal text."""
        mine, theirs = contrast.anchor_groups, contrast.candidate_groups
        if mine is None or theirs is None:
            return contrast
        texts = [mine]
        if isinstance(contrast.targets, Tensor):
            texts.append(theirs[contrast.targets])

        def same_text(rows: Tensor) -> Tensor:
            equal = torch.stack([text[rows, None] == theirs for text in texts]).any(0)
            return equal & (contrast.target_weights(rows) == 0)

        def newly_hidden(rows: Tensor) -> Tensor:
            hidden = same_text(rows)
            for rule in contrast.log_weights:
                hidden &= ~torch.isneginf(rule(rows))
            return hidden

        masked = contrast.weighted(exclude(same_text, contrast.dtype))
        return replace(masked, masked=newly_hidden)


def only_own_positive(contrast: Contrast, z: Embeddings) -> Contrast:
    """Takes the positives of the other anchors out of the table: negatives come from a queue only (MoCo)."""
    columns = len(contrast.candidates) - contrast.queued

    def others(rows: Tensor) -> Tensor:
        hidden = contrast.target_weights(rows) == 0
        hidden[:, columns:] = False
        return hidden

    census = {"queue": contrast.queued} if contrast.queued else {"in-batch": 0}
    return replace(contrast.weighted(exclude(others, contrast.dtype)), census=census)


@dataclass(frozen=True)
class KeepHardest:
    """Keeps of each anchor's negatives the fraction with the highest similarity.

    Args:
        fraction: Fraction α in (0, 1] that stays; ⌈α·M⌉ of M negatives, ties with the last one included.

    Source: methods.md E; Wang & Liu 2021, https://arxiv.org/abs/2012.09740
    """

    fraction: float

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction must be in (0, 1], not {self.fraction}")

    def __call__(self, contrast: Contrast, z: Embeddings) -> Contrast:
        """The table without its easy negatives."""

        @torch.no_grad()
        def easy(rows: Tensor) -> Tensor:
            block = contrast.block(rows, 1.0)
            negatives = block.negatives
            similarity = block.similarity.masked_fill(~negatives, -math.inf)
            kept = torch.ceil(self.fraction * negatives.sum(1) - 1e-9).clamp(min=1).long()
            ranked = similarity.sort(1, descending=True).values
            slack = 1e-12 if similarity.dtype == torch.float64 else 1e-6
            threshold = ranked.gather(1, kept[:, None] - 1) - slack
            return negatives & (similarity < threshold)

        return contrast.weighted(exclude(easy, contrast.dtype))
