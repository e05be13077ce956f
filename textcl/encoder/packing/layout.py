"""Layout of the tokens of a batch while a model runs them, computed once, by numpy on the host.

torch's own operators on a few hundred indices cost a host milliseconds, and on a card a launch each. A layout is made
where a batch is made, in the loader's thread, and goes to the device with the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedModel

from textcl.encoder.packing.packed import Packed
from textcl.transfer import ON_HOST
from textcl.types import Tokens, ranges


@dataclass(frozen=True)
class Layout:
    """The order in which a model runs the rows of a batch: ascending lengths, rows without tokens left out.

    Letters: B rows, T tokens, P places of the packed row, which a row of padding may end.

    Args:
        order: Rows in their order.
        back: Place of each token; None where every token stands at its own.
        places: Token at each place, the first one in padding; None likewise.
        packed: How a packed model runs them; None for a model that runs with padding.
    """

    order: Int[Tensor, " R"] = field(metadata=ON_HOST)
    back: Int[Tensor, " T"] | None
    places: Int[Tensor, " P"] | None
    packed: Packed | None

    @classmethod
    def of(cls, backbone: PreTrainedModel, tokens: Tokens, *, packed: bool) -> Layout:
        """The layout of tokens for a model on the device where it is now.

        Args:
            backbone: The model.
            tokens: At least one, on the CPU; the host waits for ids that are on another device.
            packed: Whether the model runs without padding.
        """
        lengths = tokens.lengths.numpy()
        order = np.argsort(lengths, kind="stable")
        order = order[lengths[order] > 0]
        places = ranges((lengths.cumsum() - lengths)[order], lengths[order])
        in_order = bool((order[1:] > order[:-1]).all())
        run = Packed.of(backbone, tokens, order, places) if packed else None
        missing = 0 if run is None else run.missing
        back = None
        if not in_order:
            back = np.empty_like(places)
            back[places] = np.arange(len(places))
        padded = np.concatenate([places, np.repeat(places[:1], missing)]) if missing else places
        return cls(
            torch.from_numpy(order),
            None if back is None else torch.from_numpy(back),
            None if in_order and not missing else torch.from_numpy(padded),
            run,
        )

    def without_lengths(self) -> Layout:
        """The layout of a packed model on a card with nothing on the host that differs in a batch of equal sizes."""
        assert self.packed is not None
        packing = self.packed.packing
        longest = torch.full_like(packing.lengths, packing.longest)
        packed = replace(self.packed, packing=replace(packing, lengths=longest))
        return replace(self, order=torch.zeros_like(self.order), packed=packed)

    @property
    def in_order(self) -> bool:
        """Whether every token stands at its own place."""
        return self.back is None
