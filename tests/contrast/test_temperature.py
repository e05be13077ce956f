"""Temperatures that are learned or follow a schedule."""

from __future__ import annotations

import math

import pytest
import torch

from textcl.contrast.temperature import LearnableTemperature, ScheduledTemperature, checked, current
from textcl.method.hooks import MoveSchedules


def test_learnable_temperature_starts_where_told_and_stays_above_a_hundredth():
    temperature = LearnableTemperature(0.05)
    assert float(torch.as_tensor(current(temperature)).detach()) == pytest.approx(0.05, rel=1e-6)
    with torch.no_grad():
        temperature.log_scale.fill_(10.0)
    assert float(torch.as_tensor(current(temperature)).detach()) == pytest.approx(0.01, rel=1e-6)


@pytest.mark.parametrize(
    ("schedule", "half"),
    [("linear", 0.3), ("cosine", 0.3), ("exponential", math.sqrt(0.05)), ("cyclic", 0.1)],
)
def test_schedule_goes_from_start_to_end(schedule, half):
    temperature = ScheduledTemperature(schedule, 0.5, 0.1)
    seen = []
    for progress in (-1.0, 0.0, 0.5, 1.0, 2.0):
        temperature.move(progress)
        seen.append(current(temperature))
    end = 0.5 if schedule == "cyclic" else 0.1
    assert seen == pytest.approx([0.5, 0.5, half, end, end], rel=1e-12)


def test_schedule_resumes_from_its_state():
    moved, fresh = (ScheduledTemperature("linear", 0.5, 0.1) for _ in range(2))
    moved.move(0.25)
    fresh.load_state_dict(moved.state_dict())
    assert current(fresh) == current(moved) == pytest.approx(0.4)


@pytest.mark.parametrize("make", [checked, LearnableTemperature])
@pytest.mark.parametrize("number", [0, -0.1, math.nan, math.inf])
def test_temperature_must_be_positive(make, number):
    with pytest.raises(ValueError, match="temperature must be > 0 and finite, not"):
        make(number)


def test_a_learned_temperature_comes_back_from_its_bound():
    with pytest.raises(ValueError, match=r"starts at 0\.01 or above, not 0\.005"):
        LearnableTemperature(0.005)
    temperature = LearnableTemperature(0.01)
    hook = MoveSchedules.of(temperature)
    optimizer = torch.optim.SGD(temperature.parameters(), lr=1.0)
    for way in (1.0, 1.0, -1.0):  # down twice, then up
        optimizer.zero_grad()
        (temperature() * 100 * way).backward()
        assert temperature.log_scale.grad.abs() > 0.5
        optimizer.step()
        hook.after_update(1)
        assert bool(temperature.at_bound) is (way > 0)
    assert temperature().item() > 0.011
