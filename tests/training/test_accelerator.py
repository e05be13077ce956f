"""What `accelerate launch` asks for is honoured or refused by name."""

from __future__ import annotations

import pytest

from textcl.errors import UserError
from textcl.training.accelerator import accelerator_of
from textcl.training.settings import TrainSettings


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("ACCELERATE_USE_FSDP", "true", "FSDP"),
        ("ACCELERATE_USE_DEEPSPEED", "true", "DeepSpeed"),
        ("ACCELERATE_USE_MEGATRON_LM", "true", "Megatron-LM"),
        ("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR", "compiler"),
    ],
)
def test_sharded_training_is_refused_by_name(monkeypatch, name, value, what):
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"asks for .*{what}.*chunk_size"):
        accelerator_of(TrainSettings())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4", "accumulation is 1: unset it"),
        ("ACCELERATE_MIXED_PRECISION", "fp8", "mixed_precision=fp8, which textcl does not"),
        ("ACCELERATE_MIXED_PRECISION", "fp16", "fp16 needs a GPU"),
        ("ACCELERATE_USE_CPU", "perhaps", "variables of this environment.*perhaps"),
    ],
)
def test_other_wishes_are_refused_and_none_is_followed_in_silence(
    monkeypatch, name, value, message
):
    monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match=message):
        accelerator_of(TrainSettings())


def test_the_accumulation_of_the_launch_may_be_that_of_the_settings(monkeypatch):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "3")
    assert accelerator_of(TrainSettings(accumulation=3)).gradient_accumulation_steps == 3


@pytest.mark.parametrize("launched", ["no", "bf16"])
def test_the_precision_of_the_launch_is_heeded_where_none_is_set(monkeypatch, launched):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launched)
    assert accelerator_of(TrainSettings()).mixed_precision == launched
    assert accelerator_of(TrainSettings(precision="fp32")).mixed_precision == "no"
