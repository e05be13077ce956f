"""BYOL and SimSiam: agreement without negatives, kept from collapsing by a predictor and stopped gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from textcl.arithmetic import unit
from textcl.distributed import ALONE, World
from textcl.objectives.predictor import predicted
from textcl.types import Embeddings, LossOutput


class Byol(nn.Module):
    """Σ over pairs of mean_i (2 - 2·cos(p(z_i), sg(t_i))).

    Args:
        predictor: The head p on the online embeddings.
        pairs: Online and target names; the default is the symmetrised loss, a sum of both directions.
        world: The processes that train together.

    Source: Grill et al. 2020, https://arxiv.org/abs/2006.07733
    """

    def __init__(
        self,
        predictor: nn.Module,
        *,
        pairs: Sequence[tuple[str, str]] = (
            ("anchor", "positive_target"),
            ("positive", "anchor_target"),
        ),
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.predictor, self.pairs, self.world = predictor, tuple(pairs), world

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the batch."""
        losses = [
            2 - 2 * mean_cosine(predicted(self.predictor, z[online]), z[target], self.world)
            for online, target in self.pairs
        ]
        return LossOutput(torch.stack(losses).sum(), collapse_terms(z[self.pairs[0][0]]))


class SimSiam(nn.Module):
    """-½ mean_i (cos(p(z1_i), sg(z2_i)) + cos(p(z2_i), sg(z1_i))): BYOL without a momentum encoder.

    Args:
        predictor: The head p.
        names: The two views, both from the online encoder.
        world: The processes that train together.

    Source: Chen & He 2021, https://arxiv.org/abs/2011.10566
    """

    def __init__(
        self,
        predictor: nn.Module,
        *,
        names: tuple[str, str] = ("anchor", "positive"),
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.predictor, self.names, self.world = predictor, names, world

    def forward(self, z: Embeddings) -> LossOutput:
        """Loss of the batch."""
        first, second = (z[name] for name in self.names)
        forward = mean_cosine(predicted(self.predictor, first), second, self.world)
        back = mean_cosine(predicted(self.predictor, second), first, self.world)
        return LossOutput(-(forward + back) / 2, collapse_terms(first))


def mean_cosine(
    prediction: Float[Tensor, "B D"], target: Float[Tensor, "B D"], world: World
) -> Float[Tensor, ""]:
    """Mean cosine of rows with rows over all ranks; the targets carry no gradient."""
    cosines = (unit(prediction) * unit(target.detach())).sum(1)
    return world.mean(cosines, torch.ones_like(cosines))


@torch.no_grad()
def collapse_terms(x: Float[Tensor, "B D"]) -> dict[str, Tensor]:
    """Spread of the unit embeddings per dimension: about 1/√D when healthy, 0 when all rows are the same."""
    return {"spread": unit(x).std(0, correction=0).mean()}
