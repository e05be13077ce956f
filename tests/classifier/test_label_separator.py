"""Several labels of a row in one text, from training to scores: what stands between them is said once, and heeded."""

import io
import json
import sys

import pytest
from families import tiny_model_dir
from labelled import labelled
from rich.console import Console

import textcl
import textcl.cli
from textcl.cli.sweep import train_options
from textcl.training.request import RowRequest
from textcl.training.run_folder import RunFolder

TINY = ["steps=1", "batch_size=6", "max_length=16", "head=own", "pooling=mean"]


def write_csv(path, rows):
    lines = [f'{row["text"]},"{"; ".join(row["labels"])}"' for row in rows if row["labels"]]
    path.write_text("\n".join(["text,labels", *lines]) + "\n")
    return str(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("separated")
    files = {
        name: write_csv(folder / f"{name}.csv", labelled(rows, seed, several=True))
        for name, rows, seed in (("train", 40, 0), ("dev", 30, 1))
    }
    settings = [*TINY, "label_separator=;"]
    model, quiet = tiny_model_dir(folder / "tiny", layers=1), Console(file=io.StringIO())
    textcl.train(
        "cross-entropy", model=model, data=files["train"], dev=files["dev"], settings=settings,
        output=folder / "run", console=quiet,
    )  # fmt: skip
    return folder


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs a command; gives its exit code and both streams."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["textcl", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            textcl.cli.main()
        out, err = capsys.readouterr()
        return stopped.value.code or 0, out, err

    return run


def test_a_run_learns_the_names_between_the_separators(run):
    facts = RunFolder(run / "run").facts
    assert facts.settings["classes"] == ["food", "sport", "town"]
    assert facts.settings["multi_label"]
    again = RowRequest.of_run(facts, ("text", "label|labels")).rows()
    assert again.report.sha256 == facts.data.sha256
    assert {"food", "sport"} in map(set, again.column("labels"))


@pytest.mark.parametrize("name", ["eval", "calibrate"])
def test_files_to_score_on_are_read_by_it(run, command, name):
    data = ["--data", run / "dev.csv", "--json"] if name == "eval" else [run / "dev.csv"]
    code, _, err = command(name, run / "run", *data)
    assert code == 2
    assert "or with --label-separator" in err
    code, out, err = command(name, run / "run", *data, "--label-separator", ";")
    assert code == 0, err
    if name == "eval":
        (score,) = json.loads(out)["tasks"].values()
        assert score["n"] == sum(1 for row in labelled(30, 1, several=True) if row["labels"])


def test_the_commands_that_train_hand_it_on(run, command):
    model = RunFolder(run / "run").facts.common.model
    recipe = ["--recipe", "cross-entropy", "--model", model, "--data", run / "train.csv"]
    recipe += ["--dev", "", "--label-separator", ";", "--dry-run", "--set", "max_length=16"]
    for options in (["train", *recipe, "-o", run / "x"], ["sweep", *recipe]):
        code, _, err = command(*options)
        assert code == 0, err
    given = train_options(label_separator=";", data=["a"])
    assert given == ["--label-separator", ";", "--data", "a"]
    for name in ("train", "sweep"):
        code, _, err = command(name, "--resume", run / "run", "--label-separator", ";")
        assert code == 2
        assert "leave the other options out" in err


def test_where_rows_have_one_label_it_is_refused(run, command, tmp_path):
    (tmp_path / "one.csv").write_text("text,label\na b,food\nc d,town\n")
    arguments = ["train", "--recipe", "cross-entropy", "--data", tmp_path / "one.csv", "--dev", ""]
    arguments += ["--model", RunFolder(run / "run").facts.common.model, "--label-separator", ","]
    code, _, err = command(*arguments, "--dry-run")
    assert code == 2
    assert "--column labels=NAME" in err
    code, _, err = command("eval", run / "run", "--label-separator", ",")
    assert code == 2
    assert "--label-separator goes with --data" in err
