"""Seeded draws for objectives that need chance.

Each draw depends on the seed and on how many were made before, so that the state of a stream is one number, all ranks
draw the same, and a resumed run goes on where it stopped. Objectives take any callable instead, for given draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

Level = Literal["scalar", "row", "dimension"]


class Stream(nn.Module):
    """Generators one after another.

    Args:
        seed: The same on all ranks.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed, self.drawn = seed, 0

    def next(self) -> np.random.Generator:
        """The generator of the next draw."""
        self.drawn += 1
        return np.random.default_rng((self.seed, self.drawn))

    def get_extra_state(self) -> Tensor:
        """The number of draws, as a tensor so that any checkpoint format holds it."""
        return torch.tensor(self.drawn)

    def set_extra_state(self, state: Tensor) -> None:
        """Go on after that many draws."""
        self.drawn = int(state)


class Subset(Stream):
    """Some of the given ids, or of the places that a mask marks, without replacement; all where there are fewer.

    Args:
        count: How many.
        seed: The same on all ranks.
    """

    def __init__(self, count: int, seed: int = 0) -> None:
        super().__init__(seed)
        self.count = count

    def forward(self, ids: Int[Tensor, " n"] | Bool[Tensor, " n"]) -> Int[Tensor, " r"]:
        """The drawn ones, in random order.

        Of a mask, places that it does not mark follow where it marks fewer than are asked for: how many it marks is
        known to its device alone.
        """
        order = self.next().permutation(len(ids))
        if ids.dtype != torch.bool:
            return ids[torch.from_numpy(order[: self.count]).to(ids.device, non_blocking=True)]
        places = torch.from_numpy(order).to(ids.device, non_blocking=True)
        marked_first = torch.argsort((~ids[places]).byte(), stable=True)
        return places[marked_first[: self.count]]


@dataclass(frozen=True)
class Mix:
    """A mixture of each row with another: coefficient·row + (1 - coefficient)·other.

    Args:
        coefficient: One number, one a row, or one an element.
        partners: Which row is the other one, where rows are mixed among themselves.
    """

    coefficient: Float[Tensor, ""] | Float[Tensor, "N 1"] | Float[Tensor, "N D"]
    partners: Int[Tensor, " N"]


class BetaMix(Stream):
    """Coefficients shift + Beta(a, a) and a random order of the rows.

    Args:
        concentration: a > 0; 1 draws uniformly.
        level: "scalar" one coefficient for all rows (as published), "row" one a row, "dimension" one an element.
        shift: 0 mixes inwards; 1 gives coefficients in [1, 2], which move rows away from their partners.
        seed: The same on all ranks.
    """

    def __init__(
        self, concentration: float, level: Level = "scalar", *, shift: float = 0.0, seed: int = 0
    ) -> None:
        super().__init__(seed)
        if not concentration > 0:
            raise ValueError(f"the concentration of a Beta must be > 0, not {concentration}")
        self.concentration, self.level, self.shift = concentration, level, shift

    def forward(self, rows: Float[Tensor, "N D"]) -> Mix:
        """A draw for these rows."""
        generator = self.next()
        shapes = {"scalar": (), "row": (len(rows), 1), "dimension": tuple(rows.shape)}
        drawn = generator.beta(self.concentration, self.concentration, shapes[self.level])
        coefficient = torch.as_tensor(self.shift + drawn).to(rows, non_blocking=True)
        order = torch.from_numpy(generator.permutation(len(rows)))
        return Mix(coefficient, order.to(rows.device, non_blocking=True))
