"""A temperature from the text of one setting."""

from __future__ import annotations

from typing import get_args

from textcl.contrast.temperature import (
    LOWEST_LEARNED,
    LearnableTemperature,
    Schedule,
    ScheduledTemperature,
    Temperature,
    positive,
)
from textcl.errors import UserError


def as_temperature(setting: float | str) -> Temperature:
    """A temperature from one setting.

    Args:
        setting: A number; "learnable:0.05" (the initial value); or "linear:0.1:0.05", "cosine:…", "exponential:…"
            (from, to), "cyclic:0.1:0.05:4" (highest, lowest, cycles over the training).

    Raises:
        UserError: If it is none of these.
    """
    try:
        if not isinstance(setting, str):
            return positive(setting)
        kind, *numbers = setting.split(":")
        values = [float(number) for number in numbers]
        if kind == "learnable" and len(values) == 1:
            return LearnableTemperature(values[0])
        if kind in get_args(Schedule) and len(values) == (3 if kind == "cyclic" else 2):
            return ScheduledTemperature(kind, *values)  # pyright: ignore[reportArgumentType]
        return positive(float(setting))
    except ValueError:
        raise UserError(
            f"temperature is a number above 0, learnable:0.05 (from {LOWEST_LEARNED} on), or a schedule such as "
            f"cosine:0.1:0.05, not {setting!r}"
        ) from None
