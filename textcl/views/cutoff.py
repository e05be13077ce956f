"""Changes of a row behind its tokens: cut tokens, spans and features, moved positions, mixed embeddings.

All functions are pure: uniform numbers come in, masks and positions for the ragged layout of `Tokens` go out.
`draw_uniform` makes the numbers from one generator per row (`textcl.views.view.draw_generator`), so that a row is cut
in the same way whatever batch, worker or process it is in. `CutTokens` and its kind are the functions as changes of a
view: `View("text", changes=(CutFeatures(0.2, 768), ShufflePositions()))`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from textcl.errors import UserError
from textcl.types import Changes, Tokens

CutVariant = Literal["default", "consert", "cutoff_repo"]
"""The ways of two codes, and ours: "consert" draws without replacement and leaves the attention mask alone;
"cutoff_repo" draws with replacement, so that fewer may be cut, and nothing attends to a cut token; the default
draws without replacement, nothing attends to a cut token, and the first token is never cut."""


@dataclass(frozen=True)
class Cut:
    """The tokens of all rows that a cutoff leaves.

    Args:
        embed: False where the embedding output (after its normalisation and dropout) becomes 0.
        attend: False where a token is hidden from the attention of the others.
    """

    embed: Bool[Tensor, " T"]
    attend: Bool[Tensor, " T"]


def draw_uniform(rngs: Sequence[random.Random], counts: Sequence[int]) -> Float[Tensor, " N"]:
    """`counts[i]` numbers in [0, 1) from the generator of row i, one row after another."""
    drawn = b"".join(rng.randbytes(4 * count) for rng, count in zip(rngs, counts, strict=True))
    return torch.from_numpy(np.frombuffer(drawn, "<u4") / 2**32)


def cut_tokens(
    lengths: Int[Tensor, " B"],
    uniform: Float[Tensor, " T"],
    rate: float,
    variant: CutVariant = "default",
) -> Cut:
    """Cut ⌊rate · length⌋ tokens of each row.

    Args:
        lengths: Tokens of each row.
        uniform: One draw for each token.
        rate: Share of the tokens that is cut, at least 0 and below 1.
        variant: See `CutVariant`.

    Returns:
        What is left.

    Source: Shen et al. 2020, https://arxiv.org/abs/2009.13818; Yan et al. 2021, https://arxiv.org/abs/2105.11741
    """
    counts = _counts(lengths, rate)
    row, place, starts = _layout(lengths)
    if variant == "cutoff_repo":
        used = place < counts[row]
        cut = torch.zeros_like(used)
        cut[(starts[row] + (uniform * lengths[row]).long())[used]] = True
        return Cut(~cut, ~cut)
    if variant == "default":
        counts = counts.clamp(max=(lengths - 1).clamp(min=0))
        uniform = torch.where(place == 0, torch.inf, uniform)  # last in line
    keep = _ranks(row, place, uniform) >= counts[row]
    return Cut(keep, torch.ones_like(keep) if variant == "consert" else keep)


def cut_span(
    lengths: Int[Tensor, " B"],
    uniform: Float[Tensor, " B"],
    rate: float,
    variant: CutVariant = "default",
) -> Cut:
    """Cut ⌊rate · length⌋ consecutive tokens of each row.

    Args:
        lengths: Tokens of each row.
        uniform: One draw for each row.
        rate: Share of the tokens that is cut, at least 0 and below 1.
        variant: See `CutVariant`. As in both codes, all but the default never cut the last token.

    Returns:
        What is left.

    Source: Shen et al. 2020, https://arxiv.org/abs/2009.13818
    """
    counts = _counts(lengths, rate)
    row, place, _ = _layout(lengths)
    first = (uniform * (lengths - counts)).long() + (variant == "default")
    keep = (place < first[row]) | (place >= (first + counts)[row])
    return Cut(keep, torch.ones_like(keep) if variant == "consert" else keep)


def cut_features(
    uniform: Float[Tensor, "B D"], rate: float, variant: CutVariant = "default"
) -> Bool[Tensor, "B D"]:
    """Cut ⌊rate · D⌋ columns of the embedding output, the same ones for all tokens of a row.

    Args:
        uniform: One draw for each row and column.
        rate: Share of the columns that is cut, at least 0 and below 1.
        variant: "cutoff_repo" draws with replacement; the others do not.

    Returns:
        False where the embedding output becomes 0.

    Source: Shen et al. 2020, https://arxiv.org/abs/2009.13818; Yan et al. 2021, https://arxiv.org/abs/2105.11741
    """
    rows, width = uniform.shape
    count = int(_counts(torch.tensor([width]), rate))
    again = variant == "cutoff_repo"
    drawn = (uniform * width).long() if again else uniform.argsort(1)
    keep = torch.ones(rows, width, dtype=torch.bool)
    return keep.scatter_(1, drawn[:, :count], False)


def shuffle_positions(
    lengths: Int[Tensor, " B"], uniform: Float[Tensor, " T"], keep_first: bool = True
) -> Int[Tensor, " T"]:
    """Positions of the tokens, permuted inside each row: tokens stay, positions move.

    Args:
        lengths: Tokens of each row.
        uniform: One draw for each token.
        keep_first: Leave the first token (the [CLS] token) its position; the official code moves it too.

    Returns:
        Positions from 0 to length - 1, in the order of the tokens.

    Source: Yan et al. 2021, https://arxiv.org/abs/2105.11741
    """
    row, place, _ = _layout(lengths)
    if keep_first:
        uniform = torch.where(place == 0, -torch.inf, uniform)
    return _ranks(row, place, uniform)


@dataclass(frozen=True)
class CutTokens:
    """Cut some tokens of each row, see `cut_tokens`.

    Args:
        rate: Share of the tokens that is cut, at least 0 and below 1.
        variant: See `CutVariant`.
    """

    rate: float
    variant: CutVariant = "default"

    def __post_init__(self) -> None:
        _check_rate(self.rate)

    def __call__(self, tokens: Tokens, rngs: Sequence[random.Random]) -> Tokens:
        """The rows with tokens cut."""
        uniform = draw_uniform(rngs, tokens.lengths.tolist())
        return _with_cut(tokens, cut_tokens(tokens.lengths, uniform, self.rate, self.variant))


@dataclass(frozen=True)
class CutSpan:
    """Cut some tokens of each row that follow one another, see `cut_span`.

    Args:
        rate: Share of the tokens that is cut, at least 0 and below 1.
        variant: See `CutVariant`.
    """

    rate: float
    variant: CutVariant = "default"

    def __post_init__(self) -> None:
        _check_rate(self.rate)

    def __call__(self, tokens: Tokens, rngs: Sequence[random.Random]) -> Tokens:
        """The rows with a span cut."""
        uniform = draw_uniform(rngs, [1] * len(tokens))
        return _with_cut(tokens, cut_span(tokens.lengths, uniform, self.rate, self.variant))


@dataclass(frozen=True)
class CutFeatures:
    """Cut some columns of each row's embedding output, see `cut_features`.

    Args:
        rate: Share of the columns that is cut, at least 0 and below 1.
        width: Columns of the model's embeddings.
        variant: See `CutVariant`.
    """

    rate: float
    width: int
    variant: CutVariant = "default"

    def __post_init__(self) -> None:
        _check_rate(self.rate)

    def __call__(self, tokens: Tokens, rngs: Sequence[random.Random]) -> Tokens:
        """The rows with columns cut."""
        uniform = draw_uniform(rngs, [self.width] * len(tokens)).view(len(tokens), self.width)
        keep, changes = cut_features(uniform, self.rate, self.variant), tokens.changes or Changes()
        return replace(tokens, changes=replace(changes, features=_both(changes.features, keep)))


@dataclass(frozen=True)
class ShufflePositions:
    """Permute the positions of each row's tokens, see `shuffle_positions`.

    Args:
        keep_first: Leave the first token (the [CLS] token) its position; the official code moves it too.
    """

    keep_first: bool = True

    def __call__(self, tokens: Tokens, rngs: Sequence[random.Random]) -> Tokens:
        """The rows with their positions permuted."""
        uniform = draw_uniform(rngs, tokens.lengths.tolist())
        positions = shuffle_positions(tokens.lengths, uniform, self.keep_first)
        return replace(tokens, changes=replace(tokens.changes or Changes(), positions=positions))


def _with_cut(tokens: Tokens, cut: Cut) -> Tokens:
    changes = tokens.changes or Changes()
    hidden = None if cut.attend.all() else cut.attend
    attend = changes.attend if hidden is None else _both(changes.attend, hidden)
    embed = _both(changes.embed, cut.embed)
    return replace(tokens, changes=replace(changes, embed=embed, attend=attend))


def _both(before: Tensor | None, keep: Tensor) -> Tensor:
    return keep if before is None else before & keep


def _counts(lengths: Int[Tensor, " B"], rate: float) -> Int[Tensor, " B"]:
    _check_rate(rate)
    return (lengths.double() * rate).long()


def _layout(
    lengths: Int[Tensor, " B"],
) -> tuple[Int[Tensor, " T"], Int[Tensor, " T"], Int[Tensor, " B"]]:
    """Row of each token, its place in the row, and where rows start."""
    row = torch.arange(len(lengths)).repeat_interleave(lengths)
    starts = lengths.cumsum(0) - lengths
    return row, torch.arange(len(row)) - starts[row], starts


def _ranks(
    row: Int[Tensor, " T"], place: Int[Tensor, " T"], keys: Float[Tensor, " T"]
) -> Int[Tensor, " T"]:
    """Rank of each token's key inside its row, from 0."""
    order = keys.argsort(stable=True)
    order = order[row[order].argsort(stable=True)]
    return torch.empty_like(order).scatter_(0, order, place)


def _check_rate(rate: float) -> None:
    if not 0 <= rate < 1:
        raise UserError(f"The rate of a cutoff must be at least 0 and below 1, not {rate}.")
