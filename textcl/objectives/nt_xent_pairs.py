"""NT-Xent with one term for every positive pair, as metric-learning libraries and Mirror-BERT's code have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from textcl.contrast.pairings import AllViews
from textcl.contrast.row_losses import EachPair
from textcl.contrast.temperature import Temperature
from textcl.contrast.transforms import Transform
from textcl.distributed import ALONE, World
from textcl.objectives.contrastive import Contrastive

PairVariant = Literal["exact", "fp16_floor"]

FLOORS: dict[PairVariant, float] = {"exact": 0.0, "fp16_floor": 2.0**-14}
"""Added by each variant to the probability inside the logarithm; 2^-14 is the smallest normal number of float16."""


def nt_xent_pairs(
    temperature: Temperature,
    *,
    names: Sequence[str] = ("anchor", "positive"),
    same: str = "rows",
    variant: PairVariant = "exact",
    transforms: Sequence[Transform] = (),
    world: World = ALONE,
) -> Contrastive:
    """NT-Xent as a mean over positive pairs.

    Args:
        temperature: Number > 0, or a module that returns one.
        names: The views, all of them anchors and candidates.
        same: What makes two rows a positive pair: "rows" or "labels", see `AllViews`.
        variant: "fp16_floor" adds 2^-14 to the probability, as Mirror-BERT's training under half precision does.
        transforms: Applied to the table, left to right.
        world: The processes that train together.

    Source: Chen et al. 2020, https://arxiv.org/abs/2002.05709; Liu et al. 2021,
        https://arxiv.org/abs/2104.08027

    Note: With two views and `same="rows"` the exact variant is `nt_xent`. With several positives it is not SupCon,
        whose denominator holds the other positives too. Mirror-BERT's paper sums over the batch, its code averages.
    """
    pairing = AllViews(names, same)
    row_loss = EachPair(FLOORS[variant])
    return Contrastive(pairing, temperature, transforms, row_loss=row_loss, world=world)
