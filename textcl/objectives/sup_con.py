"""Supervised contrastive loss: rows with the anchor's label are its positives."""

from __future__ import annotations

from collections.abc import Sequence

from textcl.contrast.pairings import AllViews
from textcl.contrast.temperature import Temperature
from textcl.contrast.transforms import Transform
from textcl.distributed import ALONE, World
from textcl.objectives.contrastive import Contrastive, NoPositive


def sup_con(
    temperature: Temperature,
    *,
    names: Sequence[str] = ("anchor", "positive"),
    base_temperature: float | None = None,
    no_positive: NoPositive = "skip",
    transforms: Sequence[Transform] = (),
    world: World = ALONE,
) -> Contrastive:
    """Supervised contrastive loss: -mean_p (s_ip - LSE_{k≠i} s_ik) over the rows p of the anchor's label.

    Args:
        temperature: Number > 0, or a module that returns one.
        names: The views, all of them anchors and candidates.
        base_temperature: The loss is multiplied by temperature / base_temperature, as SupContrast does with 0.07.
        no_positive: What an anchor without a positive does. LCL's code: "nan"; SupContrast's: "zero".
        transforms: Applied to the table, left to right.
        world: The processes that train together.

    Source: Khosla et al. 2020, https://arxiv.org/abs/2004.11362; Gunel et al. 2021,
        https://arxiv.org/abs/2011.01403

    Note: The papers sum over anchors, both codes take the mean.
    """
    return Contrastive(
        AllViews(names, same="labels"),
        temperature,
        transforms,
        no_positive=no_positive,
        base_temperature=base_temperature,
        world=world,
    )
