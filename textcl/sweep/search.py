"""Searching settings instead of running all of them: Optuna's TPE proposes, a run of its own answers.

A proposal depends on the seed, its number and the scores before it, so that a search that was stopped goes on as if it
had not been.

Source: Akiba et al. 2019, https://arxiv.org/abs/1907.10902; Bergstra et al. 2011,
https://papers.nips.cc/paper/4443-algorithms-for-hyper-parameter-optimization
"""

from __future__ import annotations

import importlib
import typing
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from textcl.errors import UserError
from textcl.sweep.plan import Cell, Plan
from textcl.sweep.run import Report, Sweep
from textcl.training import recipes

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

EXTRA = "a search needs Optuna, which is not installed: pip install 'textcl-train[search]'"


def run_search(sweep: Sweep, jobs: int = 1, report: Report = lambda text: None) -> None:
    """Run the trials of a plan that are left; each runs all seeds, and their mean is its score.

    Args:
        sweep: A sweep whose plan has trials.
        jobs: Seeds that run at the same time.
        report: Called with a line on every run.

    Raises:
        UserError: If Optuna is not installed.
        RunError: If a run failed; the other trials are finished.
    """
    optuna = _optuna()
    distributions = space(sweep.plan)
    for number in range(sweep.plan.trials):
        if number < len(sweep.trials):
            settings = sweep.trials[number]
        else:
            settings = _propose(optuna, sweep, distributions, number)
            sweep.trials.append(settings)
        cells = cells_of(sweep.plan, settings)
        known = sweep.results
        waiting = [c for c in cells if c.name not in known or known[c.name].status != "finished"]
        report(
            f"trial {number + 1}/{sweep.plan.trials}: "
            + ", ".join(f"{k}={v}" for k, v in settings.items())
        )
        sweep.run_cells(waiting, jobs, report)
    sweep.tell_failures()


def cells_of(plan: Plan, settings: Mapping[str, str]) -> list[Cell]:
    """The runs of a trial."""
    values = dict(settings)
    recipe = values.pop("recipe", plan.recipes[0])
    return [Cell(recipe, values, seed) for seed in plan.seeds]


def space(plan: Plan) -> dict[str, BaseDistribution]:
    """Search space as Optuna's distributions: 0.01..0.5, log:0.01..0.5, or values separated by commas.

    Raises:
        UserError: If nothing varies, a range is none, or it is of a setting that is no number.
    """
    optuna = _optuna()
    distributions = {
        name: _distribution(optuna, plan, name, values) for name, values in plan.varied.items()
    }
    if len(plan.recipes) > 1:
        distributions["recipe"] = optuna.distributions.CategoricalDistribution(list(plan.recipes))
    if not distributions:
        raise UserError(
            "nothing to search: give --set a range such as temperature=log:0.01..0.5, or values"
        )
    return distributions


def _distribution(
    optuna: ModuleType, plan: Plan, name: str, values: Sequence[str]
) -> BaseDistribution:
    if ":" in name:
        raise UserError(f"--set {name}: a search varies settings of all recipes, not of one")
    if len(values) > 1 or ".." not in values[0]:
        for recipe in plan.recipes:
            for value in values:
                recipes.find(recipe).settings(None, [f"{name}={value}"])
        return optuna.distributions.CategoricalDistribution(list(values))
    whole = all(_is_whole(recipe, name) for recipe in plan.recipes)
    text = values[0].removeprefix("log:")
    log, (low, _, high) = text != values[0], text.partition("..")
    try:
        ends = (int(low), int(high)) if whole else (float(low), float(high))
    except ValueError:
        kind = "whole numbers" if whole else "numbers"
        raise UserError(
            f"--set {name}={values[0]}: a range is two {kind} such as {'16..128' if whole else '0.01..0.5'}"
        ) from None
    if not ends[0] < ends[1] or (log and ends[0] <= 0):
        raise UserError(
            f"--set {name}={values[0]}: a range goes upwards, and a logarithmic one starts above 0"
        )
    for recipe in plan.recipes:
        for end in ends:
            recipes.find(recipe).settings(None, [f"{name}={end}"])
    kind = "IntDistribution" if whole else "FloatDistribution"
    return getattr(optuna.distributions, kind)(*ends, log=log)


def _is_whole(recipe: str, name: str) -> bool:
    kind = typing.get_type_hints(recipes.find(recipe).settings_type).get(name)
    return kind is int or (int in typing.get_args(kind) and float not in typing.get_args(kind))


def _propose(
    optuna: ModuleType, sweep: Sweep, distributions: dict[str, BaseDistribution], number: int
) -> dict[str, str]:
    """Settings of the next trial, given what the trials before it scored."""
    sampler = optuna.samplers.TPESampler(seed=100_003 * sweep.plan.seeds[0] + number)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for settings in sweep.trials:
        scores = [
            result.score
            for cell in cells_of(sweep.plan, settings)
            if (result := sweep.results.get(cell.name)) and result.score is not None
        ]
        state = optuna.trial.TrialState
        params = {name: _value(d, settings[name]) for name, d in distributions.items()}
        past = optuna.trial.create_trial(
            params=params,
            distributions=distributions,
            value=sum(scores) / len(scores) if scores else None,
            state=state.COMPLETE if scores else state.FAIL,
        )
        study.add_trial(past)
    return {name: _text(value) for name, value in study.ask(distributions).params.items()}


def _value(distribution: BaseDistribution, text: str) -> str | float:
    kinds: dict[str, Callable[[str], str | float]] = {
        "IntDistribution": int,
        "FloatDistribution": float,
    }
    return kinds.get(type(distribution).__name__, str)(text)


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _optuna() -> ModuleType:
    try:
        optuna = importlib.import_module("optuna")
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise UserError(EXTRA) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
