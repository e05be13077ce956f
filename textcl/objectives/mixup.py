"""Mixup behind the encoder: anchors are mixed with one another, and look for the positives of both.

Source: methods.md K.7; Zhang et al. 2018, https://arxiv.org/abs/1710.09412
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from textcl.arithmetic import unit
from textcl.contrast import Contrast
from textcl.distributed import ALONE, World
from textcl.objectives.draws import Mix
from textcl.token_views import mix_embeddings
from textcl.types import Embeddings


@dataclass(frozen=True)
class MixAnchors:
    """Anchor i becomes λ·anchor i + (1-λ)·anchor π(i), with length 1; λ of its target is its own positive.

    The loss is then λ·CE(own positive) + (1-λ)·CE(partner's positive).

    Args:
        draw: λ in [0, 1] and the order π for the anchors of all processes, such as `BetaMix(0.2)`; one λ for all or one
            a row. The same on all ranks.
        world: The processes that train together.

    Source: methods.md K.7

    Note:
        Unit anchors are mixed, so that long vectors do not count more. Every positive must be a candidate of every
        anchor, so it does not go with `only_own_positive`.
    """

    draw: Callable[[Float[Tensor, "N D"]], Mix]
    world: World = ALONE

    def __call__(self, contrast: Contrast, z: Embeddings) -> Contrast:
        """The table with mixed anchors and two targets for each."""
        if not isinstance(contrast.targets, Tensor):
            raise ValueError("MixAnchors needs one positive an anchor, as AnchorPositive gives")
        own, anchors = contrast.targets, self.world.gather(contrast.anchors)
        mix, positives = self.draw(anchors), self.world.gather(own)
        if mix.coefficient.numel() not in (1, len(anchors)):
            raise ValueError(
                'MixAnchors needs one coefficient a row or for all rows, not level="dimension"'
            )
        weights = mix.coefficient.expand(len(anchors), 1)[:, 0]
        here = self.world.offset(len(own)) + torch.arange(len(own), device=own.device)
        others, share = positives[mix.partners[here]], weights[here]

        def targets(rows: Tensor) -> Tensor:
            table = contrast.candidates.new_zeros(
                (len(rows), len(contrast.candidates)), dtype=contrast.dtype
            )
            mine = share[rows, None].to(table)
            table.scatter_add_(1, own[rows, None], mine)
            return table.scatter_add_(1, others[rows, None], 1 - mine)

        mixed = unit(mix_embeddings(anchors, weights, mix.partners)[here])
        return replace(contrast, anchors=mixed, targets=targets)
