"""The run that the parameters of an estimator ask for: recipe, rows held out, and settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, cast

from textcl.classifier.batches import batch_that_fits
from textcl.classifier.comparison import can_fold
from textcl.classifier.estimator_columns import FittingColumns
from textcl.classifier.estimator_rows import FittingRows
from textcl.classifier.labels import default_dev
from textcl.classifier.settings import LabelledSettings
from textcl.errors import UserError
from textcl.training.recipes import find
from textcl.training.settings import TrainSettings

_FEW_ROWS = 50

Rows = FittingRows | FittingColumns

_SETTINGS = (
    *("temperature", "loss_weight", "epochs", "batch_size", "learning_rate", "max_length"),
    "patience",
)
"""Parameters that are settings of the recipe under the same name."""


class Parameters(TypedDict):
    """The parameters of an estimator that this module reads, see `TextClassifier`."""

    model: str | Path
    method: str
    class_weight: object
    held_out: float | None
    patience: int | None
    reject_label: object
    settings: Mapping[str, object] | None
    random_state: int


def share_to_hold_out(recipe: str, parameters: Parameters, rows: Rows) -> str:
    """The share of the rows that is held out; "" for none.

    Args:
        recipe: Its name or file.
        parameters: Of the estimator.
        rows: To train on.

    Raises:
        UserError: If a parameter needs held-out rows and there are none.
    """
    given = parameters["held_out"]
    share = "" if not given else str(given)
    if given is None and not _leaves_parts_out(recipe, parameters, rows):
        share = default_dev(rows.texts, rows.class_count)
    uses = {"reject_label": "takes its threshold from", "patience": "looks at"}
    for name, use in uses.items():
        if parameters.get(name) is not None and not share:
            raise UserError(f"{name} {use} held-out rows: set held_out, such as 0.1")
    return share


def _leaves_parts_out(recipe: str, parameters: Parameters, rows: Rows) -> bool:
    """Whether parts of the rows are left out of a training in turn; what needs a held-out share gets one instead."""
    if isinstance(rows, FittingColumns) or parameters["reject_label"] is not None:
        return False
    settings = find(recipe).settings(parameters["model"], _given(parameters))
    assert isinstance(settings, LabelledSettings)
    names = {
        name for label in rows.labels for name in ([label] if isinstance(label, str) else label)
    }
    known = replace(settings, classes=tuple(sorted(names)), multi_label=rows.role == "labels")
    return can_fold(known, rows.texts, rows.labels)


def run_seed(parameters: Parameters) -> int:
    """The seed of the run: that of `settings`, or `random_state`."""
    seed = (parameters["settings"] or {}).get("seed")
    return parameters["random_state"] if seed is None else cast(int, seed)


def run_settings(recipe: str, parameters: Parameters, share: str, rows: Rows) -> dict[str, object]:
    """Settings that differ from the recipe's, with a batch no larger than what is trained on.

    Args:
        recipe: Its name or file.
        parameters: Of the estimator.
        share: Of the rows that is held out.
        rows: To train on.
    """
    seed = run_seed(parameters)
    chosen = _given(parameters) | {"seed": seed}
    if "batch_size" not in chosen:
        kept = len(rows.held_out(share, seed).kept) if share else len(rows.texts)
        chosen |= fitting_batch(find(recipe).settings(parameters["model"]), chosen, kept)
    return chosen


def _given(parameters: Parameters) -> dict[str, object]:
    """Settings that the parameters name."""
    given = {name: parameters.get(name) for name in _SETTINGS}
    given["class_weights"] = "balanced" if parameters["class_weight"] == "balanced" else None
    chosen = {name: value for name, value in given.items() if value is not None}
    if parameters["held_out"] == 0:
        chosen["compare_folds"] = 0
    return chosen | {"save_every": 0, **(parameters["settings"] or {})}


def fitting_batch(
    settings: TrainSettings, chosen: Mapping[str, object], rows: int
) -> dict[str, int]:
    """A batch no larger than the rows, which blocks of a class fill.

    Args:
        settings: Of the recipe.
        chosen: Settings that differ from them.
        rows: To train on.
    """
    block = chosen.get("rows_per_class", getattr(settings, "rows_per_class", 0))
    size, fitting = batch_that_fits(
        settings.batch_size, block if isinstance(block, int) else 0, rows
    )
    return (
        {"batch_size": size}
        if fitting == block
        else {"batch_size": size, "rows_per_class": fitting}
    )


def recipe_for(method: str, rows: Rows) -> str:
    """The recipe that trains a classifier.

    Args:
        method: Its name or file; "auto" is few-shot below 50 rows a class, and cross-entropy from there on and for
            several label columns.
        rows: To train on.

    Raises:
        UserError: If the recipe trains no classifier.
    """
    few = len(rows.texts) < _FEW_ROWS * rows.class_count and not isinstance(rows, FittingColumns)
    auto = "few-shot" if few else "cross-entropy"
    name = auto if method == "auto" else method
    if not issubclass(find(name).settings_type, LabelledSettings):
        raise UserError(
            f"the recipe {name!r} trains no classifier: choose few-shot, lcl, supcon or cross-entropy"
        )
    return name


def parameters_of_today(parameters: Mapping[str, object]) -> dict[str, object]:
    """Parameters with those that were given by an earlier name under today's.

    Args:
        parameters: Of an estimator, or as estimator.json of an older folder holds them.

    Raises:
        UserError: If one is given under both names.
    """
    values = dict(parameters)
    for earlier, name in (("objective", "method"), ("class_weights", "class_weight")):
        given = values.pop(earlier, None)
        if given is None:
            continue
        if values.get(name) not in (None, "auto", given):
            raise UserError(f"{earlier} is the earlier name of {name}: give one of them")
        values[name] = None if given == "none" else given
    return values
