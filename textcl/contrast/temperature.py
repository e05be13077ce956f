"""Temperatures: a number, one that is learned, one that follows a schedule."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from textcl.schedule import FollowsProgress

Schedule = Literal["linear", "cosine", "exponential", "cyclic"]


LOWEST_LEARNED = 0.01


class LearnableTemperature(nn.Module):
    """A temperature that trains with the encoder, as the exponent of a logit scale, never below 0.01.

    `MoveSchedules` brings one that an update took below back to 0.01, from where its gradient can raise it again; a
    loop of your own calls `move` after each update.

    Args:
        initial: Temperature at the start, at least 0.01.

    Raises:
        ValueError: If it is lower.

    Source: Radford et al. 2021, https://arxiv.org/abs/2103.00020
    """

    def __init__(self, initial: float) -> None:
        super().__init__()
        if not positive(initial) >= LOWEST_LEARNED:
            raise ValueError(
                f"a learned temperature starts at {LOWEST_LEARNED} or above, not {initial}"
            )
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / initial)))
        self.highest = math.log(1 / LOWEST_LEARNED)

    @property
    def at_bound(self) -> Bool[Tensor, ""]:
        """Whether the temperature is at its lower bound, on the device of the weights."""
        return self.log_scale.detach() >= self.highest

    def move(self, progress: float) -> None:
        """Bring the temperature back to its bound, if the last update took it beyond."""
        with torch.no_grad():
            self.log_scale.clamp_(max=self.highest)

    def forward(self) -> Float[Tensor, ""]:
        """The temperature now."""
        return torch.exp(-self.log_scale.clamp(max=self.highest))


class ScheduledTemperature(FollowsProgress):
    """A temperature that moves from `start` to `end` while training goes on.

    Args:
        schedule: "linear", "cosine", "exponential", or "cyclic" (start is the highest, end the lowest).
        start: Temperature at progress 0.
        end: Temperature at progress 1.
        cycles: Periods of the cyclic schedule over the whole training, > 0.
    """

    def __init__(self, schedule: Schedule, start: float, end: float, cycles: float = 1.0) -> None:
        super().__init__()
        self.schedule: Schedule = schedule
        self.cycles = positive(cycles)
        self.start, self.end = positive(start), positive(end)

    def forward(self) -> float:
        """The temperature now."""
        x, start, end = self.done, self.start, self.end
        match self.schedule:
            case "linear":
                return start + (end - start) * x
            case "cosine":
                return end + (start - end) * (1 + math.cos(math.pi * x)) / 2
            case "exponential":
                return start * (end / start) ** x
            case _:
                return end + (start - end) * (1 + math.cos(2 * math.pi * self.cycles * x)) / 2


Temperature = float | LearnableTemperature | ScheduledTemperature


def checked(temperature: Temperature) -> Temperature:
    """The temperature itself.

    Raises:
        ValueError: If it is a number and not above 0, or not finite.
    """
    return temperature if isinstance(temperature, nn.Module) else positive(temperature)


def current(temperature: Temperature) -> float | Float[Tensor, ""]:
    """The number that divides similarities in this step."""
    return temperature() if isinstance(temperature, nn.Module) else temperature


def temperature_terms(temperature: Temperature) -> dict[str, Tensor]:
    """The log terms of a temperature: the number, and of a learned one whether it can go no lower."""
    terms = {"temperature": torch.as_tensor(current(temperature)).detach()}
    if isinstance(temperature, LearnableTemperature):
        terms["temperature_at_bound"] = temperature.at_bound.float()
    return terms


def positive(temperature: float) -> float:
    """The number itself.

    Raises:
        ValueError: If it is not above 0, or not finite.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be > 0 and finite, not {temperature}")
    return temperature
