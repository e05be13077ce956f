"""Settings: parsed by type, checked, and told with the nearest valid name."""

from __future__ import annotations

import pytest
import torch
from transformers import get_scheduler

from textcl.contrast.temperature import LearnableTemperature, ScheduledTemperature
from textcl.contrast.temperature_setting import as_temperature
from textcl.errors import UserError
from textcl.training.settings import (
    TrainSettings,
    as_mapping,
    from_mapping,
    parse_overrides,
    with_values,
)


def test_overrides_are_parsed_by_the_type_of_the_field():
    overrides = parse_overrides(
        TrainSettings,
        ["batch_size=8", "learning-rate=1e-3", "steps=none", "dropout=0.2", "trackers=wandb,mlflow",
         "gradient_checkpointing=true", "schedule=cosine", "data=a=b.txt"],
    )  # fmt: skip
    changed = with_values(TrainSettings(), overrides)
    assert (changed.batch_size, changed.learning_rate, changed.steps, changed.dropout) == (
        8,
        1e-3,
        None,
        0.2,
    )
    assert changed.trackers == ("wandb", "mlflow")
    assert changed.gradient_checkpointing is True
    assert changed.schedule == "cosine"
    assert changed.data == "a=b.txt"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("batchsize=3", "unknown setting 'batchsize'; did you mean batch_size"),
        ("batch_size", "expected --set key=value, got 'batch_size'"),
        ("batch_size=many", "setting batch_size is a whole number of at least 1, not 'many'"),
        ("batch_size=0", "setting batch_size is a whole number of at least 1, not '0'"),
        ("schedule=step", "setting schedule is one of linear, cosine, constant, not 'step'"),
        (
            "gradient_checkpointing=yes",
            "setting gradient_checkpointing is true or false, not 'yes'",
        ),
        ("learning_rate=nan", "setting learning_rate is a number of at least 0, not 'nan'"),
    ],
)
def test_a_wrong_setting_says_what_is_right(override, message):
    with pytest.raises(UserError, match=message):
        with_values(TrainSettings(), parse_overrides(TrainSettings, [override]))


def test_settings_survive_json():
    settings = TrainSettings(trackers=("wandb",), steps=3)
    assert from_mapping(TrainSettings, as_mapping(settings)) == settings
    with pytest.raises(UserError, match="does not know depth"):
        from_mapping(TrainSettings, {"depth": 3})


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [{}, {"warmup": 0.1}, {"warmup": 0.25}, {"warmup_steps": 7}])
def test_the_learning_rate_is_that_of_transformers(schedule, warmup):
    settings = TrainSettings(learning_rate=1.0, schedule=schedule, **warmup)
    rise = settings.warmup_steps or round(settings.warmup * 40)
    name = "constant_with_warmup" if schedule == "constant" else schedule
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = get_scheduler(name, optimizer, num_warmup_steps=rise, num_training_steps=40)
    for step in range(40):
        assert settings.learning_rate_at(step, 40) == pytest.approx(
            theirs.get_last_lr()[0], abs=1e-12
        )
        optimizer.step()
        theirs.step()
    assert settings.learning_rate_at(rise, 40) == 1.0


def test_warm_up_is_an_exact_share_of_the_updates():
    settings = TrainSettings(learning_rate=1.0, warmup=0.1)  # 0.1 × 30 is above 3 in floating point
    assert settings.learning_rate_at(3, 30) == 1.0


def test_total_steps_counts_updates():
    assert TrainSettings(epochs=2).total_steps(10) == 20
    assert TrainSettings(epochs=0.5, accumulation=2).total_steps(10) == 2
    assert TrainSettings(steps=7).total_steps(10) == 7
    assert TrainSettings(epochs=0.29).total_steps(100) == 29
    with pytest.raises(UserError, match="warmup_steps is 7, and the run has 7 updates"):
        TrainSettings(steps=7, warmup_steps=7).total_steps(10)


def test_temperature_settings():
    assert as_temperature(0.05) == 0.05
    assert as_temperature("0.05") == 0.05
    learnable = as_temperature("learnable:0.07")
    assert isinstance(learnable, LearnableTemperature)
    assert learnable().item() == pytest.approx(0.07)
    scheduled = as_temperature("cosine:0.1:0.05")
    assert isinstance(scheduled, ScheduledTemperature)
    values = []
    for progress in (0, 0.5, 1, 2):
        scheduled.move(progress)
        values.append(scheduled())
    assert values == pytest.approx([0.1, 0.075, 0.05, 0.05])
    cyclic = as_temperature("cyclic:0.1:0.05:2")
    cyclic.move(0.25)
    assert cyclic() == pytest.approx(0.05)
    for wrong in (
        "warm",
        "cosine:0.1",
        "learnable:-1",
        "0",
        "learnable:0.005",
        "inf",
        "cyclic:1:1:0",
    ):
        with pytest.raises(UserError, match="temperature is a number above 0"):
            as_temperature(wrong)
