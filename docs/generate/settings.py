"""The settings of every recipe, from its dataclass."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable
from typing import Any

from generate.markdown import arguments_of, code, markdown, table
from generate.package import find_recipe, recipe_names

HEADER = ("setting", "default", "meaning", "values")

_GROUPS = {
    "Model and data": (
        "model",
        "data",
        "dev",
        "max_length",
        "num_layers",
        "dropout",
        "bidirectional",
        "base_weights",
        "adapter",
    ),
    "Batches": ("batch_size", "accumulation", "chunk_size", "gradient_checkpointing"),
    "Length of the run": ("epochs", "steps", "patience"),
    "Optimizer": (
        "learning_rate",
        "warmup",
        "warmup_steps",
        "schedule",
        "weight_decay",
        "max_grad_norm",
    ),
    "What is measured and kept": ("evaluate_every", "save_every", "log_every", "trackers"),
    "Precision and seed": ("precision", "seed"),
}


def settings() -> str:
    """The settings of every recipe, those that all share first."""
    from textcl import (
        ClassifierSettings,
        ConceptSettings,
        LabelledSettings,
        PairSettings,
        TrainSettings,
        VectorSettings,
    )

    shared = [field.name for field in dataclasses.fields(TrainSettings)]
    placed = {name for names in _GROUPS.values() for name in names}
    groups = {**_GROUPS, "Further settings": tuple(n for n in shared if n not in placed)}
    lines = ["## Settings that every recipe has", ""]
    for title, names in groups.items():
        if rows := [row for row in _settings_rows(TrainSettings, names) if row]:
            lines += [
                f"### {title}",
                "",
                *table(HEADER, rows),
            ]
    lines += ["## Settings of the recipes for classes", ""]
    lines += table(
        HEADER, _settings_rows(LabelledSettings, _own_fields(LabelledSettings, TrainSettings))
    )
    own = _own_fields(ClassifierSettings, LabelledSettings)
    lines += ["", "Where the head is trained with the encoder:", ""]
    lines += table(HEADER, _settings_rows(ClassifierSettings, own))
    lines += ["## Settings of the recipes for pairs", ""]
    lines += table(HEADER, _settings_rows(PairSettings, _own_fields(PairSettings, TrainSettings)))
    for kind, what in ((ConceptSettings, "concepts"), (VectorSettings, "stored vectors")):
        lines += [f"## Settings of the recipes for {what}", ""]
        lines += table(HEADER, _settings_rows(kind, _own_fields(kind, TrainSettings)))
    lines += ["## Settings of each recipe", ""]
    for name in recipe_names():
        lines += _recipe_settings(name)
    return "\n".join(lines)


def _recipe_settings(name: str) -> list[str]:
    recipe = find_recipe(name)
    kind = recipe.settings_type
    parent = kind.__mro__[1]
    own = _own_fields(kind, parent)
    lines = [
        f"### `{name}`",
        "",
        f"{markdown(recipe.summary)} Columns: {code(recipe.roles)}.",
        "",
    ]
    if own:
        lines += table(HEADER, _settings_rows(kind, own))
    first, base = kind(), parent()
    changed = [
        f.name
        for f in dataclasses.fields(parent)
        if getattr(first, f.name) != getattr(base, f.name)
    ]
    if changed:
        values = ", ".join(f"`{key}={_plain(getattr(first, key))}`" for key in changed)
        lines += [f"Other defaults: {values}.", ""]
    for model, preset in recipe.presets.items():
        values = ", ".join(f"`{key}={_plain(value)}`" for key, value in preset.items())
        lines += [f"With `--model {model}`: {values}.", ""]
    return lines


def _own_fields(kind: type, parent: type) -> list[str]:
    inherited = {field.name for field in dataclasses.fields(parent)}
    return [field.name for field in dataclasses.fields(kind) if field.name not in inherited]


def _settings_rows(kind: type, names: Iterable[str]) -> list[tuple[str, ...]]:
    from textcl.training.domains import values_of

    known, meanings, first = values_of(kind), arguments_of(kind), kind()
    return [
        (
            f"`{name}`",
            f"`{_plain(getattr(first, name))}`",
            markdown(meanings.get(name, "")),
            markdown(str(known[name])),
        )
        for name in names
        if name in known
    ]


def _plain(value: Any) -> str:
    if value in (None, "", ()):
        return "–"
    if isinstance(value, tuple):
        return ",".join(map(str, typing.cast("tuple[Any, ...]", value)))
    return (
        str(value).lower()
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
