"""Every setting of every recipe has a domain, and what is outside is one sentence, from wherever it comes."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest

from textcl.errors import UserError
from textcl.training import recipes
from textcl.training.domains import Domain, Values, values_of
from textcl.training.settings import TrainSettings, parse_overrides, with_values


def outside(values: Values) -> list[object]:
    """Values of Python that a setting does not take."""
    wrong: list[object] = [] if values.optional else [None]
    wrong += [object(), {"a": 1}]
    if values.choices or values.text:
        wrong.append(
            "nonsense:" if values.text is None or values.text.expected[:8] != "the name" else " "
        )
    if values.kinds & {int, float}:
        wrong += [math.nan, math.inf, -math.inf, True]
        domain = values.domain
        wrong += [bound - 1 for bound in (domain.at_least, domain.above) if bound is not None]
        wrong += [bound + 1 for bound in (domain.at_most, domain.below) if bound is not None]
        wrong += [bound for bound in (domain.above, domain.below) if bound is not None]
        if float not in values.kinds:
            wrong += [1.5, 10**12, 10**30, -(10**30)]
    else:
        wrong.append(1.5)
    if values.not_empty:
        wrong.append(())
    return [(v,) if values.several and v != () else v for v in wrong]


@pytest.mark.parametrize("recipe", recipes.names())
def test_every_setting_of_every_recipe_refuses_what_is_outside_its_domain(recipe):
    settings = recipes.find(recipe).settings()
    for key, values in values_of(type(settings)).items():
        number = values.kinds & {int, float}
        for wrong in outside(values):
            with pytest.raises(UserError) as refused:
                with_values(settings, {key: wrong})
            message = str(refused.value)
            assert message.startswith(f"setting {key} is {values}, not "), wrong
            assert "\n" not in message
        for text in ("nan", "inf", "-inf") if number else ():
            with pytest.raises(UserError, match=f"setting {key} is .*, not '{text}'"):
                parse_overrides(type(settings), [f"{key}={text}"])
        free = key == "hard_negative_weight"  # a logit: any finite number
        assert not number or values.domain != Domain() or free, f"{key} has no bounds"


@pytest.mark.parametrize(
    "override",
    [
        "warmup=100", "epochs=inf", "epochs=0", "temperature=0", "temperature=nan", "temperature=inf", "temperature=-1",
        "temperature=learnable:0.005", "temperature=learnable:inf", "temperature=cosine:0.1", "temperature=cosine:0:1",
        "temperature=cyclic:0.1:0.05:0", "temperature=warm", "mlm_weight=-0.1", "pooling=middle", "pooling=cls+",
        "model=", "steps=0", "seed=-1", "dropout=1", "trackers=abacus",
    ],
)  # fmt: skip
def test_values_that_trained_silently_or_crashed_are_refused(override):
    key = override.partition("=")[0]
    with pytest.raises(UserError, match=f"^setting {key} is "):
        recipes.find("unsup-simcse").settings(None, [override])


@pytest.mark.parametrize(
    ("recipe", "override"),
    [
        ("supcon", "loss_weight=1.5"), ("consert", "loss_factor=-1"), ("hcl", "beta=-1"), ("hcl", "stages=1"),
        ("proto-nce", "rows_per_cluster=0"), ("proto-nce", "rows_per_cluster=20,0"), ("proto-nce", "rows_per_cluster="),
        ("supcon", "head_dropout=2"), ("moco", "queue=-1"), ("mirror-drophead", "drophead=1"), ("debiased", "prior=1"),
    ],
)  # fmt: skip
def test_values_of_one_recipe_that_trained_silently_or_crashed_are_refused(recipe, override):
    key = override.partition("=")[0]
    with pytest.raises(UserError, match=f"^setting {key} is "):
        recipes.find(recipe).settings(None, [override])


def test_a_refusal_says_what_was_meant():
    with pytest.raises(UserError) as refused:
        TrainSettings(warmup=100.0)
    assert str(refused.value) == (
        "setting warmup is a number of at least 0 and below 1, not 100.0; did you mean warmup_steps?"
    )
    with pytest.raises(UserError) as refused:
        parse_overrides(TrainSettings, ["batch_size=many"])
    assert str(refused.value) == "setting batch_size is a whole number of at least 1, not 'many'"


def test_values_of_python_need_no_text():
    values = {
        "batch_size": np.int64(8), "learning_rate": np.float32(0.5), "epochs": 2, "steps": 4.0,
        "model": Path("a") / "b",
        "gradient_checkpointing": np.bool_(True), "trackers": np.array(["wandb"]), "warmup-steps": 3, "dropout": None,
        "data": "a, b = c",
    }  # fmt: skip
    changed = with_values(TrainSettings(), values)
    assert (changed.batch_size, changed.learning_rate, changed.epochs, changed.steps) == (
        8,
        0.5,
        2.0,
        4,
    )
    assert all(
        type(v) is t
        for v, t in [(changed.batch_size, int), (changed.epochs, float), (changed.steps, int)]
    )
    assert (changed.model, changed.data) == (str(Path("a") / "b"), "a, b = c")
    assert changed.gradient_checkpointing is True
    assert (changed.trackers, changed.warmup_steps) == (("wandb",), 3)
    for key, wrong in {
        "epochs": "2",
        "batch_size": True,
        "gradient_checkpointing": 1,
        "model": 3,
    }.items():
        with pytest.raises(UserError, match=f"setting {key} is"):
            with_values(TrainSettings(), {key: wrong})


def test_another_default_keeps_the_domain():
    @dataclasses.dataclass(frozen=True)
    class Settings(TrainSettings):
        """More rows.

        Args:
            batch_size: Another default.
            share: A share.
        """

        batch_size: int = 512
        share: Annotated[float, Domain(at_least=0, at_most=1)] = 0.5

    Settings.__annotations__ |= {
        "batch_size": int,
        "share": Annotated[float, Domain(at_least=0, at_most=1)],
    }
    with pytest.raises(UserError, match="setting batch_size"):
        Settings(batch_size=0)
    with pytest.raises(
        UserError, match="setting share is a number of at least 0 and at most 1, not 2"
    ):
        Settings(share=2)


def test_a_model_has_the_same_preset_as_an_override():
    found = recipes.find("unsup-simcse")
    named = found.settings("roberta-large")
    assert named == found.settings(None, ["model=roberta-large"])
    assert named == found.settings(None, {"model": "roberta-large"})
    assert named.batch_size == 512
    assert found.settings(None, ["batch_size=8", "model=roberta-large"]).batch_size == 8
