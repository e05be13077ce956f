"""A model that meets the file that it was trained on: the commands that measure and fit say so."""

from __future__ import annotations

import shutil

import pytest
import typer
from families import tiny_model_dir
from labelled import labelled, write_jsonl
from training_runs import quiet
from typer.testing import CliRunner

import textcl
from textcl.cli.calibrate import calibrate_command
from textcl.cli.eval import eval_command
from textcl.cli.reject import reject_command

app = typer.Typer()
for name, command in (
    ("calibrate", calibrate_command),
    ("eval", eval_command),
    ("reject", reject_command),
):
    app.command(name)(command)

SEEN = "is the file that"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run, its training file, and another one."""
    place = tmp_path_factory.mktemp("seen")
    model = tiny_model_dir(place, layers=1)
    train = write_jsonl(place / "train.jsonl", labelled(40))
    write_jsonl(place / "other.jsonl", labelled(40, seed=1))
    textcl.train(
        "cross-entropy", model=str(model), data=str(train), dev="", output=place / "run", console=quiet(),
        settings={"steps": 1, "batch_size": 8, "max_length": 16, "compare_folds": 0},
    )  # fmt: skip
    return place


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)


@pytest.mark.parametrize(
    "command",
    [["eval", "MODEL", "--data"], ["calibrate", "MODEL"], ["reject", "MODEL"]],
    ids=lambda command: command[0],
)
def test_a_file_that_a_model_was_trained_on_is_pointed_out(command, folder, tmp_path):
    alone = tmp_path / "alone"
    shutil.copytree(folder / "run" / "best", alone)  # no longer beside its run
    for model, data, told in (
        (folder / "run", "train", True),
        (folder / "run" / "best", "train", True),
        (folder / "run", "other", False),
        (alone, "train", False),
    ):
        words = [str(model) if word == "MODEL" else word for word in command]
        done = run(*words, folder / f"{data}.jsonl")
        assert (SEEN in done.stderr) == told, done.stderr
        assert SEEN not in done.stdout
