"""Sweeps: which runs there are, that none is done twice, and what their scores say together."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from families import tiny_model_dir
from labelled import write_jsonl
from scipy.stats import ttest_rel
from typer.testing import CliRunner

from textcl.cli.app import app
from textcl.cli.sweep import sweep_command, train_options
from textcl.cli.train import train_command
from textcl.data.json_text import to_json
from textcl.errors import RunError, UserError
from textcl.evaluation.significance import Spread, holm
from textcl.figures.sweeps import records, sweep_figure
from textcl.probe.numbers import SpaceNumbers
from textcl.report.runs import open_all
from textcl.sweep import run as sweeping
from textcl.sweep.comparison import compare
from textcl.sweep.curve import curve_of
from textcl.sweep.plan import Cell, Plan, option_values, parse_seeds
from textcl.sweep.processes import Processes
from textcl.sweep.run import Sweep
from textcl.sweep.search import run_search, space
from textcl.sweep.table import Result, Row, table
from textcl.training import recipes
from textcl.training.facts import Scores
from textcl.training.run_folder import RunFolder

APP = typer.Typer()
APP.command()(sweep_command)


def plan(*settings, names=("unsup-simcse",), seeds=(0, 1), **more):
    return Plan.of(list(names), list(settings), list(seeds), **more)


# which runs


def test_settings_recipes_and_seeds_are_multiplied():
    asked = plan(
        "temperature=0.05,0.1", "steps=4", "hard-contrastive:hardest=0.5,1",
        names=("unsup-simcse", "hard-contrastive"),
    )  # fmt: skip
    names = [cell.name for cell in asked.cells()]
    assert len(names) == len(set(names)) == 2 * 2 + 2 * 2 * 2
    assert names[:3] == [
        "unsup-simcse/temperature=0.05/seed-0",
        "unsup-simcse/temperature=0.05/seed-1",
        "unsup-simcse/temperature=0.1/seed-0",
    ]
    assert names[-1] == "hard-contrastive/temperature=0.1,hardest=1/seed-1"
    assert asked.settings_of(asked.cells()[0]) == ["steps=4", "temperature=0.05", "seed=0"]


def test_what_is_set_for_one_recipe_stays_there():
    names = ("unsup-simcse", "hard-contrastive")
    asked = plan("unsup-simcse:mask_duplicates=true", "temperature=0.1", names=names)
    first, *_, last = asked.cells()
    assert asked.settings_of(first) == ["mask_duplicates=true", "temperature=0.1", "seed=0"]
    assert asked.settings_of(last) == ["temperature=0.1", "seed=1"]
    assert first.name == "unsup-simcse/seed-0"
    asked = plan("unsup-simcse:steps=5", "steps=4", names=names)
    steps = [asked.settings_of(cell)[0] for cell in asked.cells()[::2]]
    assert steps == ["steps=5", "steps=4"], "that of one recipe counts, whatever the order"


def test_commas_of_a_list_do_not_separate_runs():
    asked = plan("trackers=tensorboard,wandb", seeds=[0])
    assert len(asked.cells()) == 1
    assert asked.fixed == ["trackers=tensorboard,wandb"]


def test_slashes_make_no_folders():
    assert Cell("own/my_recipe.py", {"data": "a/b.txt"}, 3).name == "my_recipe/data=a_b.txt/seed-3"


def test_a_plan_survives_json(tmp_path):
    asked = plan("temperature=0.05,0.1", options=["--model", "m", "--deduplicate", "--limit", "3"])
    Sweep.create(tmp_path / "s", asked)
    again = Sweep.open(tmp_path / "s").plan
    assert [c.name for c in again.cells()] == [c.name for c in asked.cells()]
    assert list(again.options) == ["--model", "m", "--deduplicate", "--limit", "3"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["temprature=0.1,0.2"], "unknown setting 'temprature'; did you mean temperature"),
        (["batch_size=8,many"], "batch_size is a whole number of at least 1, not 'many'"),
        (["temperature"], "expected --set key=value or key=value,value"),
        (["temperature=0.1,"], "expected --set key=value or key=value,value"),
        (["seed=0,1"], "given with --seeds"),
        (["steps=3", "steps=4"], "--set steps is given twice"),
        (["steps=3,4", "unsup-simcse:steps=5"], "steps varies for all recipes, unsup-simcse among"),
        (["moco:queue=3"], "for recipe 'moco', which is not in this sweep"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_runs(settings, message):
    with pytest.raises(UserError, match=message):
        plan(*settings)


def test_seeds():
    assert parse_seeds("0..3") == [0, 1, 2, 3]
    assert parse_seeds("7, 0..1") == [7, 0, 1]
    for wrong in ("", "a", "0..", "1,1", "3..1", "-1"):
        with pytest.raises(UserError, match="seeds"):
            parse_seeds(wrong)


def test_options_for_the_runs():
    given = train_options(model="m", data=None, column=["a=b", "c=d"], deduplicate=True, limit=3)
    assert given == [
        "--model", "m", "--column", "a=b", "--column", "c=d", "--deduplicate", "--limit", "3",
    ]  # fmt: skip


# running them


class Runs:
    """Stands for the processes: writes what a run would, or fails."""

    def __init__(self, monkeypatch, fail=(), hang=()):
        self.commands, self.fail, self.stop_at = [], set(fail), set(hang)
        monkeypatch.setattr(sweeping.Processes, "run", lambda _, *given: self(*given))

    def __call__(self, command, log, _environment):
        self.commands.append(command)
        options = dict(zip(command[4::2], command[5::2], strict=True))
        path = Path(options.get("--output") or options["--resume"])
        seed, name = int(path.name.removeprefix("seed-")), path.parent.name
        if f"{name}/{seed}" in self.stop_at:
            path.mkdir(parents=True)
            (path / "settings.json").write_text("{}")
            raise KeyboardInterrupt
        if f"{name}/{seed}" in self.fail:
            log.write("some line\ntextcl: the loss is not finite\n")
            return 1
        path.mkdir(parents=True, exist_ok=True)
        RunFolder(path).write_scores(Scores(finished=True, best=70.0 + seed, last=60.0))
        (path / "checkpoints").mkdir()
        (path / "best").mkdir()
        return 0


def test_a_sweep_runs_each_cell_once_and_keeps_its_scores(tmp_path, monkeypatch):
    runs = Runs(monkeypatch)
    sweep = Sweep.create(
        tmp_path / "s", plan("temperature=0.05,0.1", "steps=4", options=["--model", "m"])
    )
    sweep.run()
    assert len(runs.commands) == 4
    assert runs.commands[0][3:] == [
        "train", "--recipe", "unsup-simcse",
        "--output", str(tmp_path / "s/cells/unsup-simcse/temperature=0.05/seed-0"), "--model", "m",
        "--set", "steps=4", "--set", "temperature=0.05", "--set", "seed=0",
    ]  # fmt: skip
    written = json.loads((tmp_path / "s/sweep.json").read_text())
    assert [cell["status"] for cell in written["cells"]] == ["finished"] * 4
    assert written["table"][0]["scores"] == {"0": 70.0, "1": 71.0}
    assert written["table"][0]["sd"] == pytest.approx(statistics.stdev([70, 71]))
    folder = sweep.folder_of(sweep.plan.cells()[0])
    assert not (folder / "checkpoints").exists()
    assert (folder / "best").exists()
    Sweep.open(tmp_path / "s").run()
    assert len(runs.commands) == 4


def test_a_failed_run_is_told_and_the_others_go_on(tmp_path, monkeypatch):
    runs = Runs(monkeypatch, fail=["temperature=0.05/1"])
    sweep, said = Sweep.create(tmp_path / "s", plan("temperature=0.05,0.1")), []
    with pytest.raises(
        RunError, match=r"1 of 4 runs failed, first .*seed-1: the loss is not finite .*--resume"
    ):
        sweep.run(report=said.append)
    assert any("FAILED, the loss is not finite" in line for line in said)
    rows = table(list(sweep.results.values()))
    assert [(row.n, row.failed) for row in rows] == [(1, 1), (2, 0)]
    runs.fail.clear()
    again = Sweep.open(tmp_path / "s")
    again.run()
    assert len(runs.commands) == 5
    assert [row.n for row in table(list(again.results.values()))] == [2, 2]


def test_an_interrupted_run_is_resumed(tmp_path, monkeypatch):
    runs = Runs(monkeypatch, hang=["temperature=0.1/0"])
    sweep = Sweep.create(tmp_path / "s", plan("temperature=0.05,0.1"))
    with pytest.raises(RunError, match=r"stopped; .*textcl sweep --resume"):
        sweep.run()
    runs.stop_at.clear()
    before = len(runs.commands)
    again = Sweep.open(tmp_path / "s")
    again.run()
    resumed = [command for command in runs.commands[before:] if "--resume" in command]
    assert [Path(command[-1]).parent.name for command in resumed] == ["temperature=0.1"]
    assert {r.status for r in again.results.values()} == {"finished"}


def test_models_may_be_discarded_and_another_number_compared(tmp_path, monkeypatch):
    Runs(monkeypatch)
    asked = plan("steps=3", seeds=[0], metric="last", keep_models=False)
    sweep = Sweep.create(tmp_path / "s", asked)
    sweep.run()
    assert not (sweep.folder_of(asked.cells()[0]) / "best").exists()
    assert next(iter(sweep.results.values())).score == 60.0


def test_several_jobs_share_the_cores_and_write_one_table(tmp_path, monkeypatch):
    runs = Runs(monkeypatch)
    Sweep.create(tmp_path / "s", plan("temperature=0.05,0.1", seeds=range(4))).run(jobs=3)
    assert len(runs.commands) == 8
    written = json.loads((tmp_path / "s/sweep.json").read_text())
    assert {cell["status"] for cell in written["cells"]} == {"finished"}


def test_only_a_dev_score_is_compared():
    with pytest.raises(UserError, match="--metric is best or last, not 'worst'"):
        plan("steps=3", metric="worst")


def test_the_table_averages_probes_too():
    def result(seed, uniformity):
        probes = {"d": SpaceNumbers(uniformity=uniformity)}
        return Result(Cell("r", {}, seed), "finished", 1.0 * seed, probes=probes)

    (row,) = table([result(1, -1.0), result(2, -2.0)])
    assert row.mean == 1.5
    assert row.probed("d", "uniformity") == Spread(-1.5, statistics.stdev([1, 2]), 2)
    assert row.probed("d", "tolerance").mean is None


# what differs


def row(recipe, value, scores):
    seeds = {str(seed): score for seed, score in enumerate(scores)}
    return Row(group=f"{recipe}/t={value}", recipe=recipe, settings={"t": value}, scores=seeds)


def test_settings_are_compared_with_the_default_and_recipes_with_the_first():
    rows = [
        row("a", "0.01", [1, 2, 4]), row("a", "0.05", [2, 3, 4]), row("a", "0.1", [0, 1, 1]),
        row("b", "0.01", [5, 6, 7]), row("b", "0.05", [2, 4, 4]),
    ]  # fmt: skip
    tests = compare(rows, {"a": {"t": "0.050"}, "b": {"t": "3"}})
    assert [(x.differs, x.row, x.against) for x in tests] == [
        ("setting", "a/t=0.01", "a/t=0.05"),
        ("setting", "a/t=0.1", "a/t=0.05"),
        ("recipe", "b/t=0.01", "a/t=0.01"),
        ("setting", "b/t=0.05", "b/t=0.01"),
        ("recipe", "b/t=0.05", "a/t=0.05"),
    ]
    want = ttest_rel([0, 1, 1], [2, 3, 4])
    assert tests[1].p_value == pytest.approx(want.pvalue)
    assert (tests[1].p_holm or 0) >= (tests[1].p_value or 1)
    assert tests[0].test == "two-sided paired t-test"
    to_json(tests)


def test_only_seeds_that_both_have_are_paired():
    rows = [row("a", "1", [1, 2, 4]), row("a", "2", [2, 3, 4])]
    first, second = rows
    (test,) = compare([first, replace(second, scores={"0": 2, "2": 4})], {})
    assert (test.n, test.difference) == (2, 0.5)
    assert compare([first, replace(second, scores={"2": 4})], {}) == []


def test_holm():
    assert holm([0.01, 0.04, None, 0.03]) == pytest.approx([0.03, 0.06, None, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_options_are_read_with_their_values():
    """A flag has none, and a value may look like an option."""
    options = ["--deduplicate", "--model", "m", "--column", "--model", "--dev", "d"]
    assert list(option_values(options)) == [
        ("--deduplicate", ""), ("--model", "m"), ("--column", "--model"), ("--dev", "d"),
    ]  # fmt: skip
    for wrong in (["--model"], ["--output", "x"]):
        with pytest.raises(ValueError, match=wrong[0]):
            list(option_values(wrong))


# a search


def searched(*settings, trials=4, **more):
    return plan(*settings, seeds=[0, 1], search=True, trials=trials, **more)


def peak_at(best):
    """Stands for a run whose score is highest at one temperature."""

    def run(_processes, command, _log, _environment):
        path = Path(command[command.index("--output") + 1])
        told = dict(part.split("=") for part in command if part.startswith(("temp", "seed")))
        path.mkdir(parents=True)
        score = 80 - 100 * abs(float(told["temperature"]) - best)
        RunFolder(path).write_scores(Scores(finished=True, best=score))
        return 0

    return run


def test_a_search_proposes_within_its_ranges_and_ends_near_the_best(tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    monkeypatch.setattr(sweeping.Processes, "run", peak_at(0.3))
    asked = searched(
        "temperature=0.01..0.9", "batch_size=8..64", "schedule=linear,constant", trials=25
    )
    sweep = Sweep.create(tmp_path / "s", asked)
    run_search(sweep)
    assert len(sweep.trials) == 25
    assert sweep.content().tests == []
    for trial in sweep.trials:
        assert 0.01 <= float(trial["temperature"]) <= 0.9
        assert 8 <= int(trial["batch_size"]) <= 64
        assert trial["schedule"] in ("linear", "constant")
    assert all(sorted(row.scores) == ["0", "1"] for row in table(list(sweep.results.values())))
    late = [abs(float(trial["temperature"]) - 0.3) for trial in sweep.trials[15:]]
    early = [abs(float(trial["temperature"]) - 0.3) for trial in sweep.trials[:10]]
    assert statistics.median(late) < statistics.median(early)


def test_a_stopped_search_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    monkeypatch.setattr(sweeping.Processes, "run", peak_at(0.3))
    asked = searched("temperature=log:0.01..0.9", trials=14)
    whole = Sweep.create(tmp_path / "whole", asked)
    run_search(whole)
    part = Sweep.create(tmp_path / "part", searched("temperature=log:0.01..0.9", trials=12))
    run_search(part)
    again = Sweep.open(tmp_path / "part")
    again.plan = replace(again.plan, trials=14)
    run_search(again)
    assert again.trials == whole.trials


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["steps=3"], "nothing to search"),
        (["temperature=0.5..0.1"], "a range goes upwards"),
        (["temperature=log:0..0.1"], "a logarithmic one starts above 0"),
        (["temperature=a..b"], "a range is two numbers"),
        (["batch_size=8..x"], "a range is two whole numbers"),
        (["tempature=0.1..0.2"], "unknown setting"),
        (["schedule=linear,never"], "schedule is one of"),
        (["unsup-simcse:temperature=0.1..0.2"], "of all recipes, not of one"),
    ],
)
def test_what_cannot_be_searched_is_told(settings, message):
    pytest.importorskip("optuna")
    with pytest.raises(UserError, match=message):
        space(searched(*settings))


def test_a_search_without_optuna_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install 'textcl-train\[search\]'"):
        space(searched("temperature=0.1..0.2"))


# the figure


def swept(*values, recipes=("a",), tolerance=True):
    def number(x):
        return Spread(x, 0.1, 2)

    def probes(k):
        labelled = {"uniformity": number(-2 + k / 5), "tolerance": number(0.2 + k / 9)}
        plain = {"uniformity": number(-3.0), "tolerance": Spread()}
        return {"plain": plain, "labelled": labelled} if tolerance else {"plain": plain}

    return [
        Row(mean=70.0 + k, sd=0.5, n=2, recipe=r, settings={"t": v}, probes=probes(k))
        for r in recipes
        for k, v in enumerate(values)
    ]


def test_the_figure_takes_both_numbers_from_the_labelled_texts():
    curve = curve_of(swept("0.01", "0.1", "0.5", recipes=("a", "b")))
    assert curve is not None
    assert curve.setting == "t"
    rows = records(curve)
    assert [row["t"] for row in rows] == [0.01, 0.1, 0.5] * 2
    assert rows[1]["uniformity"] == pytest.approx(-1.8)
    assert rows[1]["uniformity_high"] == pytest.approx(-1.7)
    assert rows[1]["score_low"] == pytest.approx(70.5)


def test_a_figure_is_drawn_and_says_what_it_shows(tmp_path):
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    from textcl.figures.charts import specification
    from textcl.figures.files import save

    spec = specification(
        sweep_figure(curve_of(swept("0.01", "0.1", "0.5", recipes=("a", "b"))), seeds=2)
    )
    assert spec["title"]["text"] == "What t does"
    assert "a: best score 72.00 at t 0.5" in spec["description"]
    save(sweep_figure(curve_of(swept("1", "2")), seeds=2), tmp_path / "c.svg")
    assert "<svg" in (tmp_path / "c.svg").read_text()


def test_no_curve_of_one_value_or_of_words_or_of_two_settings():
    assert curve_of(swept("0.1")) is None
    assert curve_of(swept("cls", "mean")) is None
    first, second = swept("1", "2")
    assert curve_of([replace(first, settings={"t": "1", "u": "2"}), second]) is None
    curve = curve_of(swept("1", "2", tolerance=False))
    assert curve is not None
    assert records(curve)[0]["tolerance"] is None


def test_the_best_of_negative_scores_is_the_highest():
    rows = [
        replace(row, mean=mean) for row, mean in zip(swept("1", "2"), (-3.0, -1.0), strict=True)
    ]
    curve = curve_of(rows)
    assert curve is not None
    assert curve.best()["a"].value == 2


# the command


def run(*arguments):
    return CliRunner().invoke(APP, arguments, catch_exceptions=False)


def test_dry_run_lists_and_writes_nothing(tmp_path):
    result = run(
        "--recipe", "unsup-simcse", "--set", "temperature=0.1,0.2", "--seeds", "0..1",
        "-o", str(tmp_path / "s"), "--dry-run",
    )  # fmt: skip
    assert result.stdout.splitlines()[0] == "unsup-simcse/temperature=0.1/seed-0"
    assert len(result.stdout.splitlines()) == 4
    assert not (tmp_path / "s").exists()


def test_the_command_shows_the_table_even_where_a_run_failed(tmp_path, monkeypatch):
    pytest.importorskip("altair")
    Runs(monkeypatch, fail=["temperature=0.2/1"])
    arguments = ("--recipe", "unsup-simcse", "--set", "temperature=0.1,0.2", "--seeds", "0,1")
    result = CliRunner().invoke(APP, [*arguments, "-o", str(tmp_path / "s")])
    assert isinstance(result.exception, RunError)
    assert "70.50 ± 0.71" in result.stdout
    assert "scores are the best of each run's evaluations on dev" in result.stdout
    assert (tmp_path / "s/sweep.svg").exists()
    with pytest.raises(UserError, match=r"exists already: go on with --resume"):
        run(*arguments, "-o", str(tmp_path / "s"))
    with pytest.raises(UserError, match="leave the other options out"):
        run("--resume", str(tmp_path / "s"), "--set", "temperature=1")
    with pytest.raises(UserError, match="has no recipe file: leave --recipe out"):
        run("--resume", str(tmp_path / "s"), "--recipe", "moco")
    with pytest.raises(UserError, match=r"is no sweep: it has no sweep\.json"):
        run("--resume", str(tmp_path))
    with pytest.raises(UserError, match="which recipe"):
        run("--seeds", "0")


def test_train_with_seeds_is_a_sweep_over_them(tmp_path, monkeypatch):
    runs = Runs(monkeypatch)
    train = typer.Typer()
    train.command()(train_command)
    arguments = [
        "--recipe",
        "unsup-simcse",
        "--data",
        "x.txt",
        "--set",
        "steps=3",
        "--seeds",
        "0..2",
    ]
    result = CliRunner().invoke(
        train, [*arguments, "-o", str(tmp_path / "s")], catch_exceptions=False
    )
    assert "71.00 ± 1.00" in result.stdout
    assert [command[-1] for command in runs.commands] == ["seed=0", "seed=1", "seed=2"]
    assert "--data" in runs.commands[0]
    with pytest.raises(UserError, match="settings are varied with textcl sweep"):
        CliRunner().invoke(
            train, [*arguments, "--set", "temperature=0.1,0.2"], catch_exceptions=False
        )
    with pytest.raises(UserError, match="does not go with"):
        CliRunner().invoke(train, [*arguments, "--dry-run"], catch_exceptions=False)


def test_a_real_sweep_in_processes_of_its_own(tmp_path):
    """One run, probed and then discarded; its score is that of the same run in this process."""
    model = str(tiny_model_dir(tmp_path / "model"))
    (tmp_path / "data.txt").write_text("".join(f"sentence number {i}\n" for i in range(16)))
    graded = [{"sentence1": f"a {i}", "sentence2": f"b {i % 3}", "score": i % 6} for i in range(12)]
    (tmp_path / "dev.jsonl").write_text("\n".join(map(json.dumps, graded)))
    dev = str(tmp_path / "dev.jsonl")
    settings = ["batch_size=4", "steps=2", "pooling=mean", "head=none", "evaluate_every=1"]
    options = ["--model", model, "--data", str(tmp_path / "data.txt"), "--dev", dev]
    asked = plan(*settings, seeds=[3], options=options, probes=[dev], keep_models=False, test=dev)
    sweep = Sweep.create(tmp_path / "s", asked)
    sweep.run()
    (result,) = sweep.results.values()
    assert result.status == "finished"
    assert result.score == pytest.approx(result.probes[dev].spearman)
    assert result.score == pytest.approx(result.scores.best)
    assert "which selected nothing" in sweep.score_note
    assert sweep.before["unsup-simcse"][dev].spearman == pytest.approx(result.scores.before)
    folder = sweep.folder_of(asked.cells()[0])
    assert sorted(path.name for path in folder.iterdir()) == [
        "metrics.jsonl", "probe-0.json", "scores.json", "settings.json",
    ]  # fmt: skip


def edited(folder, change):
    """Change the file of a sweep by hand."""
    file = folder / "sweep.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


NOT_GIVEN = {
    "options": lambda content: content["plan"].update(options=["--recipe", "evil.py"]),
    "output": lambda content: content["plan"].update(
        options=["--output", "precious", "--overwrite"]
    ),
    "no value": lambda content: content["plan"].update(options=["--model"]),
    "cells": lambda content: content["cells"][0].update(recipe="evil.py"),
    "seed": lambda content: content["cells"][0].update(seed=7),
    "setting": lambda content: content["cells"][0].update(settings={"x": "y"}),
}


@pytest.mark.parametrize("name", NOT_GIVEN)
def test_what_a_sweep_never_writes_is_refused(name, tmp_path):
    Sweep.create(tmp_path / "s", plan())
    edited(tmp_path / "s", NOT_GIVEN[name])
    with pytest.raises(UserError, match=r"sweep\.json: .*edited by hand"):
        Sweep.open(tmp_path / "s")


def test_every_damage_of_the_file_is_named(tmp_path):
    folder = tmp_path / "s"
    asked = plan("temperature=0.05,0.1", options=["--model", "m"])
    Sweep.create(folder, asked)
    whole = json.loads((folder / "sweep.json").read_text())
    places = [("plan",), ("cells",), ("before",), ("trials",), ("table",)]
    places += [("plan", key) for key in whole["plan"]]
    places += [("cells", 0, key) for key in whole["cells"][0] if key != "name"]
    places += [("table", 0, key) for key in ("recipe", "settings", "mean", "probes", "n")]
    for place in places:
        for wrong in (3, [5], {"a": []}, "text", None, True):
            content = json.loads(json.dumps(whole))
            inner = content
            for key in place[:-1]:
                inner = inner[key]
            if type(inner[place[-1]]) is type(wrong):
                continue
            inner[place[-1]] = wrong
            (folder / "sweep.json").write_text(json.dumps(content))
            for read in (Sweep.open, lambda path: open_all([path])):
                with suppress(UserError):  # and no other error
                    read(folder)
    for text in ("", "[]", "{}", '{"plan": ', "[" * 100_000):
        (folder / "sweep.json").write_text(text)
        with pytest.raises(UserError, match=r"sweep\.json"):
            Sweep.open(folder)


# recipes of one's own


@pytest.fixture
def own_recipe(tmp_path):
    """A recipe file in a folder of its own."""
    (tmp_path / "own").mkdir()
    return recipes.copy("unsup-simcse", tmp_path / "own")


def test_a_sweep_of_a_recipe_file_goes_on_with_the_file_that_the_user_names(
    own_recipe, tmp_path, monkeypatch
):
    runs = Runs(monkeypatch, hang=["temperature=0.1/0"])
    names, settings = [str(own_recipe), "moco"], ["temperature=0.05,0.1"]
    own = f"{own_recipe}:mask_duplicates=true"
    sweep = Sweep.create(tmp_path / "s", plan(own, *settings, names=names, seeds=[0]))
    with pytest.raises(RunError, match="stopped"):
        sweep.run()
    assert Path(runs.commands[0][runs.commands[0].index("--recipe") + 1]) == own_recipe
    with pytest.raises(
        UserError, match=r"own \(unsup_simcse\.py\), .* are not executed: name it yourself"
    ):
        Sweep.open(tmp_path / "s")
    moved = own_recipe.rename(tmp_path / own_recipe.name)
    runs.stop_at.clear()
    runs.commands.clear()
    again = Sweep.open(tmp_path / "s", [str(moved)])
    again.run()
    assert runs.commands[0][-4:] == [
        "--resume", str(tmp_path / "s/cells/unsup_simcse/temperature=0.1/seed-0"),
        "--recipe", str(moved),
    ]  # fmt: skip
    assert again.plan.settings_of(again.plan.cells()[0])[0] == "mask_duplicates=true"
    assert {result.status for result in again.results.values()} == {"finished"}


def test_another_recipe_file_than_then_is_neither_executed_nor_run(
    own_recipe, tmp_path, monkeypatch
):
    Runs(monkeypatch)
    sweep = Sweep.create(tmp_path / "s", plan(names=[str(own_recipe)], seeds=[0]))
    mark = tmp_path / "executed"
    own_recipe.write_text(own_recipe.read_text() + f"\nopen({str(mark)!r}, 'w')\n")
    with pytest.raises(UserError, match="is not the recipe of the sweep in"):
        Sweep.open(tmp_path / "s", [str(own_recipe)])
    with pytest.raises(UserError, match="is not the recipe of the sweep in"):
        sweep.run()  # changed while the sweep was running
    assert not mark.exists()
    other = Sweep.create(tmp_path / "t", plan())
    with pytest.raises(UserError, match="has no recipe file: leave --recipe out"):
        Sweep.open(other.path, [str(own_recipe)])


# stopping


def test_a_stopped_sweep_asks_its_runs_to_save_and_starts_no_other(tmp_path):
    processes, log = Processes(), tmp_path / "log"
    saves = "import signal, sys, time\n" + (
        "def save(*_):\n    print('saved', flush=True)\n    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, save)\nprint('ready', flush=True)\ntime.sleep(60)\n"
    )
    with log.open("w") as file, ThreadPoolExecutor(1) as pool:
        going = pool.submit(processes.run, [sys.executable, "-c", saves], file, dict(os.environ))
        while "ready" not in log.read_text():
            time.sleep(0.01)
        processes.stop()
        assert going.result() == 143
        assert processes.run([sys.executable, "-c", "print('late')"], file, {}) == 143
    assert log.read_text().split() == ["ready", "saved"]


def test_a_sweep_has_one_writer(tmp_path):
    sweep = Sweep.create(tmp_path / "s", plan())
    with (
        sweep.sole_writer(),
        pytest.raises(UserError, match=r"the sweep in .* is being written by"),
    ):
        run("--resume", str(tmp_path / "s"))


# held-out data


def test_test_data_is_found_wrong_before_anything_runs(tmp_path):
    for names, message in (
        (["unsup-simcse"], "nowhere"),
        (["supcon"], "--test nowhere: there is no"),
    ):
        with pytest.raises(UserError, match=message):
            Sweep.create(tmp_path / "s", plan(names=names, test="nowhere"))
        assert not (tmp_path / "s").exists()
    with pytest.raises(UserError, match="--test does not go with --search"):
        run("--recipe", "moco", "--search", "3", "--set", "queue=8..16", "--test", "STS12")


def in_this_process(command, log, _environment):
    """A run of `python -m textcl`, without the start of a process."""
    result = CliRunner().invoke(app, command[3:])
    log.write(result.output)
    return result.exit_code


def test_classifiers_are_scored_on_held_out_texts(tmp_path, monkeypatch):
    monkeypatch.setattr(sweeping.Processes, "run", lambda _, *given: in_this_process(*given))
    texts = [("a red man", "x"), ("a blue dog", "y")]
    data = write_jsonl(tmp_path / "d.jsonl", [{"text": t, "label": y} for t, y in texts * 8])
    held_out = write_jsonl(tmp_path / "t.jsonl", [{"text": t, "label": y} for t, y in texts * 3])
    options = ["--model", str(tiny_model_dir(tmp_path / "model")), "--data", str(data), "--dev", ""]
    settings = ["batch_size=4", "steps=2", "max_length=16", "compare_folds=0"]
    asked = plan(*settings, names=["cross-entropy"], seeds=[0], options=options, test=str(held_out))
    sweep = Sweep.create(tmp_path / "s", asked)
    sweep.run()
    (result,) = sweep.results.values()
    assert result.score == 100
    assert result.scores.best is None
