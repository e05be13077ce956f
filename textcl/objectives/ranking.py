"""Ranking losses over graded pairs: a pair with a higher gold score must be the more similar one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from textcl.arithmetic import unit
from textcl.contrast.temperature import Temperature, current, positive, temperature_terms
from textcl.distributed import ALONE, World
from textcl.types import Embeddings, LossOutput

PairSimilarity = Callable[[Float[Tensor, "B D"], Float[Tensor, "B D"]], Float[Tensor, " B"]]


class RankingPairs(nn.Module):
    """ln(1 + Σ_{(i, j): y_i < y_j} e^{a_i - a_j}) with a = similarity / temperature and gold scores y.

    Every two pairs of the batch are compared, over all ranks; pairs with equal scores are not. The memory is that of
    one number a pair.

    Args:
        similarity: Of rows with rows.
        temperature: Number > 0, or a module that returns one. 0.05 is the scale of 20 in the papers' codes.
        names: The two sentences of a pair.
        world: The processes that train together.

    Source: Su 2022, https://kexue.fm/archives/8847
    """

    def __init__(
        self,
        similarity: PairSimilarity,
        temperature: Temperature = 0.05,
        *,
        names: tuple[str, str] = ("sentence1", "sentence2"),
        world: World = ALONE,
    ) -> None:
        super().__init__()
        if not isinstance(temperature, nn.Module):
            positive(temperature)
        self.similarity, self.temperature = similarity, temperature
        self.names, self.world = names, world

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the batch."""
        if z.scores is None:
            raise ValueError(
                "a ranking loss needs the gold score of each pair, and the batch has none"
            )
        left, right = (unit(z[name]) for name in self.names)
        temperature = current(self.temperature)
        with torch.autocast(left.device.type, enabled=False):
            logits = self.world.gather(self.similarity(left, right) / temperature)
        scores = self.world.gather(z.scores)
        loss = _log_sum_of_wrong(logits, scores)
        return LossOutput(loss, temperature_terms(self.temperature))


def _log_sum_of_wrong(a: Float[Tensor, " B"], scores: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """ln(1 + Σ_{(i, j): y_i < y_j} e^{a_i - a_j}) in the memory of B numbers.

    In the order of the scores the i of each j are a prefix, so that one cumulative sum holds the sums of all j.
    """
    order = torch.argsort(scores, stable=True)
    a, scores = a[order], scores[order]
    lower = torch.searchsorted(scores, scores)  # how many scores are below each
    sums = torch.logcumsumexp(a, 0)[(lower - 1).clamp(min=0)]
    terms = (sums - a).masked_fill(lower == 0, -torch.inf)
    # the 1 of ln(1 + Σ) is one more term, e^0
    return torch.logsumexp(torch.cat([terms, terms.new_zeros(1)]), 0)


def cosine_of_pairs(left: Float[Tensor, "B D"], right: Float[Tensor, "B D"]) -> Float[Tensor, " B"]:
    """Dot products of unit rows with unit rows."""
    return (left * right).sum(1)


def angle_of_pairs(left: Float[Tensor, "B D"], right: Float[Tensor, "B D"]) -> Float[Tensor, " B"]:
    """|Σ (Re + Im)| of left / right, rows read as complex numbers and scaled to length 1.

    The first half of a row is its real part, the second its imaginary part; a row of odd width has one zero more. With
    both rows of length 1 the quotient (ac + bd) + i·(bc - ad) needs no division.

    Source: Li & Li 2023, https://arxiv.org/abs/2309.12871
    """
    if left.shape[1] % 2:
        left, right = (nn.functional.pad(rows, (0, 1)) for rows in (left, right))
    (a, b), (c, d) = left.chunk(2, dim=1), right.chunk(2, dim=1)
    return (a * c + b * d + b * c - a * d).sum(1).abs()


def cosent(temperature: Temperature = 0.05, *, world: World = ALONE) -> RankingPairs:
    """CoSENT: the ranking loss over cosines (Su 2022, https://kexue.fm/archives/8847)."""
    return RankingPairs(cosine_of_pairs, temperature, world=world)


def angle(temperature: Temperature = 0.05, *, world: World = ALONE) -> RankingPairs:
    """AnglE: the ranking loss over complex angles (https://arxiv.org/abs/2309.12871)."""
    return RankingPairs(angle_of_pairs, temperature, world=world)
