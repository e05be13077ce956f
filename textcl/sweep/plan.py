"""Sweeps: which runs a grid of settings, recipes and seeds asks for, and what their scores say together.

Content of `sweep.json`:

    kind, format   "textcl-sweep", 1
    plan           recipes, fixed and varied settings, seeds, and the options every run was started with
    cells          for each run: name (its folder under cells/), recipe, settings (the varied ones), seed, status
                   ("finished", "failed", "waiting"), score, scores (all of its scores.json), seconds, error, and probes
                   (numbers of `textcl probe` by the data they were taken on)
    before         probes of what the runs started from, by recipe
    trials         settings that a search proposed, in their order
    table          for each recipe and setting: the scores by seed, their mean and standard deviation (n - 1)
    tests          paired tests between rows of the table, see `textcl.sweep.comparison`
"""

from __future__ import annotations

import itertools
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TypedDict, Unpack

from textcl.errors import UserError
from textcl.training import recipes
from textcl.training.supervision import LEFT_OUT

FORMAT = 1

METRICS = ("best", "last")
"""Dev scores that can be compared."""

RUN_OPTIONS = {
    "--model": 1, "--data": 1, "--dev": 1, "--column": 1, "--label-separator": 1, "--split": 1, "--limit": 1,
    "--deduplicate": 0,
}  # fmt: skip
"""Options of `textcl train` that a plan may hold, with the number of their values."""


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Args:
        recipe: Name of its recipe, or the file.
        settings: The settings that vary, as texts.
        seed: Its seed.
    """

    recipe: str
    settings: Mapping[str, str]
    seed: int

    @property
    def group(self) -> str:
        """Key that it shares with the runs that differ in nothing but the seed."""
        recipe = self.recipe.removesuffix(".py").rsplit("/", 1)[-1]
        varied = ",".join(f"{key}={value}" for key, value in self.settings.items())
        return "/".join(part.replace("/", "_") for part in (recipe, varied) if part)

    @property
    def name(self) -> str:
        """Name of its folder under cells/."""
        return f"{self.group}/seed-{self.seed}"


class PlanOptions(TypedDict, total=False):
    """Fields of a `Plan` that are not written as settings."""

    options: Sequence[str]
    probes: Sequence[str]
    metric: str
    keep_models: bool
    trials: int
    test: str


@dataclass(frozen=True)
class Plan:
    """Runs of a sweep.

    Args:
        recipes: Recipes to run.
        fixed: Settings that all runs share, as key=value; recipe:key=value for the runs of one recipe.
        varied: Settings that differ, with their values; recipe:key for the runs of one recipe.
        seeds: Seeds of every setting.
        options: Options that `textcl train` gets, such as ("--model", "bert-base-uncased").
        probes: What every finished run is probed on.
        metric: Dev score that is compared: "best" or "last"; not used where there is test data.
        test: Held-out task or file on which the best weights of each run are scored, and compared; "" for none.
        keep_models: Whether finished runs keep their encoders.
        trials: Settings to search for instead of running all; 0 runs all.
        sha256: Hashes of the recipes that are files.
    """

    recipes: Sequence[str]
    fixed: Sequence[str] = ()
    varied: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    seeds: Sequence[int] = (0,)
    options: Sequence[str] = ()
    probes: Sequence[str] = ()
    metric: str = "best"
    keep_models: bool = True
    trials: int = 0
    test: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        settings: Sequence[str],
        seeds: Sequence[int],
        *,
        model: str | None = None,
        search: bool = False,
        **more: Unpack[PlanOptions],
    ) -> Plan:
        """A plan from the texts of the command line, checked against every recipe.

        Args:
            names: Recipes.
            settings: key=value; several values are separated by commas, and vary. recipe:key=value is for one recipe.
            seeds: Seeds of every setting.
            model: Model to start from; it may have settings of its own.
            search: A value may be a range, see `textcl.sweep.search`.
            more: Further fields, as of `PlanOptions`.

        Raises:
            UserError: For unknown recipes and settings, and values that a recipe refuses.
        """
        if (metric := more.get("metric", "best")) not in METRICS:
            raise UserError(f"--metric is {' or '.join(METRICS)}, not {metric!r}")
        fixed: list[str] = []
        varied: dict[str, Sequence[str]] = {}
        lists = {key for name in names for key in _list_settings(recipes.find(name))}
        for text in settings:
            name, values = _parse(text, names)
            if name in varied or any(other.startswith(f"{name}=") for other in fixed):
                raise UserError(f"--set {name} is given twice: separate its values by commas")
            if name.rpartition(":")[2] in lists:
                values = [text.partition("=")[2].strip()]
            if len(values) == 1 and not (search and ".." in values[0]):
                fixed.append(f"{name}={values[0]}")
            else:
                varied[name] = values
        _require_apart(varied, [*varied, *(text.partition("=")[0] for text in fixed)])
        hashes = {name: recipes.find(name).sha256 for name in names}
        own = {name: sha256 for name, sha256 in hashes.items() if sha256 is not None}
        plan = cls(names, fixed, varied, seeds, sha256=own, **more)
        if not search:
            for cell in plan.cells():
                recipes.find(cell.recipe).settings(model, plan.settings_of(cell))
        return plan

    def renamed(self, names: Mapping[str, str]) -> Plan:
        """The plan with some recipes under other names."""

        def own(text: str) -> str:
            recipe, colon, rest = text.partition("=")[0].rpartition(":")
            return f"{names.get(recipe, recipe)}{colon}{rest}{text[len(recipe + colon + rest) :]}"

        return replace(
            self,
            recipes=[names.get(name, name) for name in self.recipes],
            fixed=[own(text) for text in self.fixed],
            varied={own(key): values for key, values in self.varied.items()},
            sha256={names.get(name, name): sha256 for name, sha256 in self.sha256.items()},
        )

    def cells(self) -> list[Cell]:
        """All runs, seed by seed within a setting."""
        cells: list[Cell] = []
        for recipe in self.recipes:
            mine = {
                name.rpartition(":")[2]: values
                for name, values in self.varied.items()
                if name.rpartition(":")[0] in ("", recipe)
            }
            for values in itertools.product(*mine.values()):
                settings = dict(zip(mine, values, strict=True))
                cells += [Cell(recipe, settings, seed) for seed in self.seeds]
        return cells

    def settings_of(self, cell: Cell) -> list[str]:
        """All settings of a run, as key=value; what is set for one recipe stands above what is set for all."""
        prefix = f"{cell.recipe}:"
        own = [text.removeprefix(prefix) for text in self.fixed if text.startswith(prefix)]
        fixed = [
            text.removeprefix(prefix)
            for text in self.fixed
            if ":" not in text.partition("=")[0] or text.startswith(prefix)
        ]
        given = dict(text.split("=", 1) for text in (*fixed, *own))
        return [f"{k}={v}" for k, v in {**given, **cell.settings, "seed": cell.seed}.items()]

    def defaults(self) -> dict[str, dict[str, str]]:
        """Defaults of each recipe for the settings that vary, with the model of the plan."""
        model = next(
            (value for name, value in option_values(self.options) if name == "--model"), None
        )
        defaults: dict[str, dict[str, str]] = {}
        for recipe in self.recipes:
            settings = vars(recipes.find(recipe).settings(model))
            names = (name.rpartition(":") for name in self.varied)
            defaults[recipe] = {
                key: str(settings[key]) for owner, _, key in names if owner in ("", recipe)
            }
        return defaults

    def score_note(self, protocols: Iterable[str | None] = ()) -> str:
        """Note on the compared scores, for a reader of their p-values.

        Args:
            protocols: Of the scores of the runs.
        """
        if self.test:
            return f"scores are those of each run's best weights on {self.test}, which selected nothing"
        if any(LEFT_OUT in (protocol or "") for protocol in protocols):
            what = (
                "trained encoder"
                if self.metric == "last"
                else "encoder that is saved, which they chose"
            )
            return (
                f"scores are those of the {what}, on training rows that were left out of a training in turn; "
                "--dev FILE or --dev 0.1 scores every run on rows that are held out"
            )
        if self.metric == "last":
            return "scores are those on dev after the last update of each run"
        return (
            "scores are the best of each run's evaluations on dev, chosen on that same dev set: too high by chance, "
            "and the more so the more often a run was scored; --metric last compares the last, --test held-out data"
        )


def option_values(options: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Every option of a plan with its value, "" for one that has none.

    Raises:
        ValueError: If an option is none of `RUN_OPTIONS`, or lacks its value; it names the option.
    """
    rest = iter(options)
    for name in rest:
        value = next(rest, None) if RUN_OPTIONS.get(name) else ""
        if name not in RUN_OPTIONS or value is None:
            raise ValueError(name)
        yield name, value


def _require_apart(varied: Collection[str], named: Collection[str]) -> None:
    """Refuse a setting that varies for all recipes and is set for one of them: one of both would not count."""
    for name in named:
        recipe, _, key = name.rpartition(":")
        if recipe and key in varied:
            raise UserError(
                f"--set {key} varies for all recipes, {recipe} among them, which --set {name} sets otherwise: give the "
                "values of each recipe, RECIPE:KEY=VALUE"
            )


def _parse(text: str, names: Sequence[str]) -> tuple[str, list[str]]:
    """Name of a setting, with its recipe in front where it is for one, and its values."""
    name, equals, value = text.partition("=")
    recipe, colon, key = name.strip().rpartition(":")
    key = key.strip().replace("-", "_")
    values = list(dict.fromkeys(part.strip() for part in value.split(",")))
    if not equals or not key or "" in values[1:]:
        raise UserError(f"expected --set key=value or key=value,value, got {text!r}")
    if colon and recipe not in names:
        raise UserError(f"--set {text} is for recipe {recipe!r}, which is not in this sweep")
    if key == "seed":
        raise UserError("the seeds of a sweep are given with --seeds 0..2, not with --set")
    return f"{recipe}{colon}{key}", values


def _list_settings(recipe: recipes.Recipe) -> Iterator[str]:
    """Settings that hold several values at once, whose commas do not separate the values of a sweep."""
    hints = typing.get_type_hints(recipe.settings_type)
    for known in fields(recipe.settings_type):
        if typing.get_origin(hints[known.name]) is tuple:
            yield known.name


def parse_seeds(text: str) -> list[int]:
    """Seeds from "0..4", "0,3,7", or both.

    Raises:
        UserError: If it is none of these, or a seed comes twice.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dots, last = part.strip().partition("..")
        if not first.isdigit() or (dots and not last.isdigit()):
            raise UserError(f"seeds are whole numbers such as 0..4 or 0,3,7, not {text!r}")
        seeds.extend(range(int(first), int(last) + 1) if dots else [int(first)])
    if len(set(seeds)) < len(seeds) or not seeds:
        raise UserError(f"seeds {text!r} name none, or one twice")
    return seeds
